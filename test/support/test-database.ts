import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { databaseUrl, TEMPLATE_DATABASE, testState } from './test-state';

/** For as long as it takes to say goodbye; whoever means to stay is put out. */
const LOOKS = 50;
const LOOK_EVERY_MS = 10;

export interface TestDatabase {
  readonly url: string;
  drop(): Promise<void>;
}

/** A migrated, empty database of the caller's own: a clone of the template, in tens of milliseconds. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  await onServer((client) => client.query(`create database ${name} template ${TEMPLATE_DATABASE} strategy file_copy`));
  return {
    url: databaseUrl(testState().serverUrl, name),
    drop: () =>
      onServer(async (client) => {
        await untilAllHaveLeft(client, name);
        await client.query(`drop database if exists ${name} with (force)`);
      }),
  };
}

/** Who is put out while it leaves complains to a pool that nobody listens to: a pool has ended before its connections have. */
async function untilAllHaveLeft(client: Client, database: string): Promise<void> {
  for (let look = 0; look < LOOKS; look += 1) {
    const { rowCount } = await client.query('select from pg_stat_activity where datname = $1', [database]);
    if (rowCount === 0) return;
    await delay(LOOK_EVERY_MS);
  }
}

async function onServer(work: (client: Client) => Promise<unknown>): Promise<void> {
  const client = new Client({ connectionString: testState().serverUrl });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
