import { Logger } from '@nestjs/common';
import { Test, type TestingModule } from '@nestjs/testing';
import { getRepositoryToken, TypeOrmModule } from '@nestjs/typeorm';
import { Client } from 'pg';
import { Column, DataSource, Entity, PrimaryColumn, Repository } from 'typeorm';
import { createTestDatabase, type TestDatabase } from '../../../test/support/test-database';
import { testSettings } from '../../../test/support/test-settings';
import { SettingsModule } from '../config/settings.module';
import { DatabaseModule } from './database.module';
import { PG_POOL } from './pg-pool';

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

/** From a connection of its own. */
async function killBackends(): Promise<void> {
  const client = new Client({ connectionString: database.url });
  await client.connect();
  await client.query(`select pg_terminate_backend(pid, 5000) from pg_stat_activity
                      where datname = current_database() and application_name like 'tollgate%'`);
  await client.end();
}
