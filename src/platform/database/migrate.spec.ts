import { Client } from 'pg';
import { randomUUID } from 'node:crypto';
import { databaseUrl, testState } from '../../../test/support/test-state';
import { findApplicationRole } from './boot-checks';
import { runMigrations } from './migrate';
import { MIGRATIONS } from './migrations';

const names: string[] = [];

async function onServer(sql: string): Promise<void> {
  await onDatabase(testState().serverUrl, (client) => client.query(sql));
}

async function onDatabase<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

async function emptyDatabase(): Promise<string> {
  const name = `empty_${randomUUID().replaceAll('-', '')}`;
  await onServer(`create database ${name}`);
  names.push(name);
  return databaseUrl(testState().serverUrl, name);
}

afterAll(async () => {
  for (const name of names) await onServer(`drop database if exists ${name} with (force)`);
});

describe('runMigrations', () => {
  it('lets one of two processes migrate while the other waits, and both succeed', async () => {
    const url = await emptyDatabase();
    const done = await Promise.all([runMigrations(url), runMigrations(url)]);
    expect(done.flat().sort()).toEqual(MIGRATIONS.map(({ name }) => name).sort());
    expect(done.map((list) => list.length).sort()).toEqual([0, MIGRATIONS.length].sort());
  });

  it('migrates several databases of one server at once, though they share its roles', async () => {
    const urls = await Promise.all([emptyDatabase(), emptyDatabase(), emptyDatabase()]);
    const done = await Promise.all(urls.map((url) => runMigrations(url)));
    expect(done.map((list) => list.length)).toEqual(urls.map(() => MIGRATIONS.length));
  });

  it('does nothing to a schema that is up to date', async () => {
    const url = await emptyDatabase();
    await runMigrations(url);
    expect(await runMigrations(url)).toEqual([]);
  });

  it('leaves the lock behind for nobody', async () => {
    const url = await emptyDatabase();
    await runMigrations(url);
    const held = await onDatabase(url, (client) =>
      client.query(`select from pg_locks where locktype = 'advisory' and database =
                    (select oid from pg_database where datname = current_database())`),
    );
    expect(held.rowCount).toBe(0);
  });
});

describe('the application role', () => {
  it('is found where the migration could make it, and cannot change the ledger', async () => {
    const url = await emptyDatabase();
    await runMigrations(url);
    await onDatabase(url, async (client) => {
      expect(await findApplicationRole(client)).toBe('tollgate_app');
      await client.query('set role tollgate_app');
      await expect(client.query('delete from ledger_transfer')).rejects.toMatchObject({ code: '42501' });
      await expect(client.query('update request_billing_snapshot set arithmetic = null')).rejects.toMatchObject({
        code: '42501',
      });
    });
  });

  it('is not used by a user who may not take it', async () => {
    const url = await emptyDatabase();
    const user = `stranger_${randomUUID().replaceAll('-', '')}`;
    await onServer(`create role ${user} login password 'of-a-stranger'`);
    const strangers = new URL(url);
    strangers.username = user;
    strangers.password = 'of-a-stranger';
    try {
      await onDatabase(strangers.href, async (client) => {
        expect(await findApplicationRole(client)).toBeUndefined();
        // The question left nothing behind: the connection is usable and still its own user's.
        expect((await client.query<{ name: string }>('select current_user as name')).rows).toEqual([{ name: user }]);
      });
    } finally {
      await onServer(`drop role ${user}`);
    }
  });
});
