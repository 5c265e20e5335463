import { once } from 'node:events';
import type { Pool } from 'pg';
import { createTestDatabase, type TestDatabase } from '../../../test/support/test-database';
import { APPLICATION_ROLE } from './pg-connection';
import { createPgPool } from './pg-pool';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

const limits = { applicationName: 'pg-pool-spec', statementMs: 2_000 };

async function withPool(size: number, work: (pool: Pool) => Promise<void>, url = database.url): Promise<void> {
  const pool = createPgPool({ url, role: APPLICATION_ROLE }, size, limits);
  try {
    await work(pool);
  } finally {
    await pool.end();
  }
}

describe('the pool of the hot path', () => {
  it('works under the application role, with its statements bounded', async () => {
    await withPool(1, async (pool) => {
      const { rows } = await pool.query(`select current_user as role, current_setting('statement_timeout') as bound,
                                                current_setting('application_name') as name`);
      expect(rows).toEqual([{ role: 'tollgate_app', bound: '2s', name: 'pg-pool-spec' }]);
      await expect(pool.query('delete from ledger_transfer')).rejects.toMatchObject({ code: '42501' });
      await expect(pool.query('select pg_sleep(10)')).rejects.toMatchObject({ code: '57014' });
    });
  });

  it('keeps the options that the URL itself asks for', async () => {
    const url = new URL(database.url);
    url.searchParams.set('options', '-c work_mem=7MB');
    await withPool(
      1,
      async (pool) => {
        const { rows } = await pool.query(`select current_user as role, current_setting('work_mem') as memory`);
        expect(rows).toEqual([{ role: 'tollgate_app', memory: '7MB' }]);
      },
      url.href,
    );
  });

  it('survives that every backend is killed: idle, lent out, and in the middle of a statement', async () => {
    await withPool(3, async (pool) => {
      const [lent, busy, idle] = await Promise.all([pool.connect(), pool.connect(), pool.connect()]);
      idle.release();
      const interrupted = expect(busy.query('select pg_sleep(5)')).rejects.toThrow();
      const lost = once(lent, 'error');
      await onServer(`select pg_terminate_backend(pid, 5000) from pg_stat_activity
                      where application_name = 'pg-pool-spec' and pid <> pg_backend_pid()`);
      await interrupted;
      await lost;
      lent.release(true);
      busy.release(true);
      expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
    });
  });

  it('answers with an error soon when every connection is taken', async () => {
    await withPool(1, async (pool) => {
      const only = await pool.connect();
      await expect(pool.query('select 1')).rejects.toThrow('timeout exceeded when trying to connect');
      only.release();
    });
  });
});

async function onServer(sql: string): Promise<void> {
  const pool = createPgPool({ url: database.url }, 1, { applicationName: 'pg-pool-spec-killer' });
  await pool.query(sql);
  await pool.end();
}
