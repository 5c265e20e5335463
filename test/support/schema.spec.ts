import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import { runMigrations } from '../../src/platform/database/migrate';
import { dumpSchema } from './schema-dump';
import { createTestDatabase, type TestDatabase } from './test-database';

const DUMP = join(__dirname, 'schema.sql');

describe('the migrations', () => {
  let database: TestDatabase;
  let client: Client;

  beforeAll(async () => {
    database = await createTestDatabase();
    client = new Client(database.url);
    await client.connect();
  });

  afterAll(async () => {
    await client.end();
    await database.drop();
  });

  it('make exactly the schema of schema.sql (npm run schema:dump writes it anew)', async () => {
    const schema = await dumpSchema(client);
    if (process.env.SCHEMA_DUMP === 'write') writeFileSync(DUMP, schema);
    expect(schema).toBe(readFileSync(DUMP, 'utf8'));
  });

  it('change nothing when they are run again', async () => {
    const before = await dumpSchema(client);
    expect(await runMigrations(database.url)).toEqual([]);
    expect(await dumpSchema(client)).toBe(before);
  });

  it('have a dump that notices a changed column, constraint, trigger, function and grant', async () => {
    const changes = [
      `alter table tenant alter column name drop not null`,
      `alter table ledger_account add constraint extra check (version >= 0)`,
      `drop trigger ledger_transfer_is_append_only on ledger_transfer`,
      `create function extra() returns int language sql as 'select 1'`,
      `grant delete on ledger_account to tollgate_app`,
      `create index extra on tenant (name)`,
    ];
    const before = await dumpSchema(client);
    for (const change of changes) {
      await client.query('begin');
      await client.query(change);
      const after = await dumpSchema(client);
      await client.query('rollback');
      expect({ change, isNoticed: after !== before }).toEqual({ change, isNoticed: true });
    }
  });
});
