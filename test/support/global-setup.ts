import { join } from 'node:path';
import { Client } from 'pg';
import { runMigrations } from '../../src/platform/database/migrate';
import { startEmbeddedPostgres } from '../../src/platform/embedded/embedded-postgres';
import { postgresBinaries } from '../../src/platform/embedded/postgres-binaries';
import { findRedisBinary } from '../../src/platform/embedded/redis-binary';
import { makeTestRoot, PROJECT_FOLDER, removeAbandonedRoots, removeTestRoot } from './test-root';
import { databaseUrl, publishTestState, TEMPLATE_DATABASE } from './test-state';

/** One real Postgres for the whole run, with a migrated template that each test file clones (see test-database.ts). */
export default async function globalSetup(): Promise<void> {
  await removeAbandonedRoots();
  const { folder, data } = makeTestRoot();
  cleanUpWhenInterrupted(folder);
  try {
    const redisBinary = await findRedisBinary({
      named: process.env.EMBEDDED_REDIS_BINARY,
      path: process.env.PATH ?? '',
      unpackFolder: join(data.folder, 'redis-binary'),
    });
    const postgres = await startEmbeddedPostgres({
      folder: join(folder, 'postgres'),
      binaries: postgresBinaries(PROJECT_FOLDER, data.folder, data.user),
      logFile: join(folder, 'postgres.log'),
      user: data.user,
      port: 0,
      isDurable: false,
      maxConnections: 400,
    });
    await makeTemplate(postgres.url);
    publishTestState({ root: folder, serverUrl: postgres.url, redisBinary });
  } catch (error) {
    await removeTestRoot(folder);
    throw error;
  }
}

async function makeTemplate(serverUrl: string): Promise<void> {
  const client = new Client({ connectionString: serverUrl });
  await client.connect();
  try {
    await client.query(`create database ${TEMPLATE_DATABASE}`);
    await runMigrations(databaseUrl(serverUrl, TEMPLATE_DATABASE));
  } finally {
    await client.end();
  }
}

function cleanUpWhenInterrupted(folder: string): void {
  for (const [signal, exitCode] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    process.once(signal, () => {
      void removeTestRoot(folder).finally(() => process.exit(exitCode));
    });
  }
}
