import { Logger } from '@nestjs/common';
import { Test, type TestingModule } from '@nestjs/testing';
import { getRepositoryToken, TypeOrmModule } from '@nestjs/typeorm';
import { Client, type Pool } from 'pg';
import { Column, DataSource, Entity, PrimaryColumn, Repository } from 'typeorm';
import { createTestDatabase, type TestDatabase } from '../../../test/support/test-database';
import { testSettings } from '../../../test/support/test-settings';
import { SettingsModule } from '../config/settings.module';
import { DatabaseModule } from './database.module';
import { PG_POOL } from './pg-pool';
import { SQL_STATE } from './sql-state';
import { withTransaction } from './with-transaction';

const TENANT = '01990000-0000-7000-8000-000000000001';

@Entity('tenant')
class TenantRow {
  @PrimaryColumn('uuid')
  id!: string;

  @Column('text')
  name!: string;
}

let database: TestDatabase;
let testing: TestingModule;

beforeAll(async () => {
  jest.spyOn(Logger.prototype, 'warn').mockImplementation();
  database = await createTestDatabase();
  const settings = testSettings({ databaseUrl: database.url, databaseStatementMs: 3_000 });
  testing = await Test.createTestingModule({
    imports: [SettingsModule.register(settings), DatabaseModule, TypeOrmModule.forFeature([TenantRow])],
  }).compile();
  await testing.init();
});
afterAll(async () => {
  await testing.close();
  await database.drop();
  jest.restoreAllMocks();
});

describe('the database module', () => {
  it('opens every connection under the application role, with bounded statements', async () => {
    const sql = `select current_user as role, current_setting('statement_timeout') as bound`;
    const expected = [{ role: 'tollgate_app', bound: '3s' }];
    expect(await testing.get(DataSource).query(sql)).toEqual(expected);
    const pool = testing.get<{ query(text: string): Promise<{ rows: unknown[] }> }>(PG_POOL);
    expect((await pool.query(sql)).rows).toEqual(expected);
  });

  it('works at read committed, also where the database is configured for another isolation', async () => {
    const name = new URL(database.url).pathname.slice(1);
    const pool = testing.get<Pool>(PG_POOL);
    for (const isolation of ['serializable', 'repeatable read']) {
      await onServer(`alter database ${name} set default_transaction_isolation = '${isolation}'`);
      // Settings of a database are for connections that begin afterwards.
      expect(await onServer('show transaction_isolation')).toEqual([{ transaction_isolation: isolation }]);
      await killBackends();
      const expected = [{ transaction_isolation: 'read committed' }];
      expect((await pool.query('show transaction_isolation')).rows).toEqual(expected);
      expect(await testing.get(DataSource).query('show transaction_isolation')).toEqual(expected);
    }
    await onServer(`alter database ${name} reset default_transaction_isolation`);
  });

  it('says within two seconds that a row of the hot path is locked, and waits for locks nowhere else so shortly', async () => {
    await onServer(`insert into tenant (id, name, timezone) values ('${TENANT}', 'locked', 'UTC')`);
    const holder = new Client({ connectionString: database.url });
    await holder.connect();
    await holder.query('begin');
    await holder.query('select 1 from tenant where id = $1 for update', [TENANT]);
    const pool = testing.get<Pool>(PG_POOL);
    const touch = (on: Pick<Pool, 'query'>): Promise<unknown> =>
      on.query('update tenant set updated_at = now() where id = $1', [TENANT]);
    for (const work of [() => touch(pool), () => withTransaction(pool, touch)]) {
      const startedMs = performance.now();
      await expect(work()).rejects.toMatchObject({ code: SQL_STATE.lockNotAvailable });
      expect(performance.now() - startedMs).toBeLessThan(2_000);
    }
    await holder.end();
    expect(await testing.get(DataSource).query('show lock_timeout')).toEqual([{ lock_timeout: '0' }]);
  });

  it.each([undefined, null])('refuses %s in a where, which would mean every row', async (id) => {
    const tenants = testing.get<Repository<TenantRow>>(getRepositoryToken(TenantRow));
    const where = { id } as unknown as { id: string };
    await expect(tenants.findOneBy(where)).rejects.toThrow(/where/i);
    await expect(tenants.delete(where)).rejects.toThrow();
    await expect(tenants.update(where, { name: 'x' })).rejects.toThrow();
  });

  it('survives that every backend is killed, in an open transaction and idle, and works again', async () => {
    const dataSource = testing.get(DataSource);
    const runner = dataSource.createQueryRunner();
    await runner.startTransaction();
    await Promise.all(Array.from({ length: 3 }, () => dataSource.query('select pg_sleep(0.05)')));
    await killBackends();
    await expect(runner.query('select 1')).rejects.toThrow();
    await runner.release();
    expect(await dataSource.query('select 1 as one')).toEqual([{ one: 1 }]);
  });
});

async function killBackends(): Promise<void> {
  await onServer(`select pg_terminate_backend(pid, 5000) from pg_stat_activity
                  where datname = current_database() and application_name like 'tollgate%'`);
}

/** From a connection of its own. */
async function onServer(sql: string): Promise<unknown[]> {
  const client = new Client({ connectionString: database.url });
  await client.connect();
  const { rows } = await client.query<object>(sql);
  await client.end();
  return rows;
}
