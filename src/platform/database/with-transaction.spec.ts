import type { Pool, PoolClient } from 'pg';
import { createTestDatabase, type TestDatabase } from '../../../test/support/test-database';
import { createPgPool } from './pg-pool';
import { withTransaction } from './with-transaction';

let database: TestDatabase;
let pool: Pool;

beforeAll(async () => {
  database = await createTestDatabase();
  pool = createPgPool({ url: database.url }, 4, { applicationName: 'with-transaction-spec', statementMs: 10_000 });
  await pool.query('create table counter (id int primary key, value int not null)');
});

beforeEach(async () => {
  await pool.query('truncate counter');
  await pool.query('insert into counter values (1, 0), (2, 0)');
});

afterAll(async () => {
  await pool.end();
  await database.drop();
});

const increment = (client: PoolClient, id: number): Promise<unknown> =>
  client.query('update counter set value = value + 1 where id = $1', [id]);

async function values(): Promise<number[]> {
  const { rows } = await pool.query<{ value: number }>('select value from counter order by id');
  return rows.map(({ value }) => value);
}

/** Resolves for everybody once `parties` have arrived, the first time; later arrivals pass. */
function meetingOf(parties: number): () => Promise<void> {
  let arrived = 0;
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return () => {
    arrived += 1;
    if (arrived >= parties) open();
    return opened;
  };
}

describe('withTransaction', () => {
  it('returns what the work returned once it is committed', async () => {
    expect(await withTransaction(pool, async (client) => increment(client, 1).then(() => 'done'))).toBe('done');
    expect(await values()).toEqual([1, 0]);
  });

  it('takes everything back when the work fails, and runs it once', async () => {
    let runs = 0;
    const failing = withTransaction(pool, async (client) => {
      runs += 1;
      await increment(client, 1);
      throw new Error('on purpose');
    });
    await expect(failing).rejects.toThrow('on purpose');
    expect(runs).toBe(1);
    expect(await values()).toEqual([0, 0]);
  });

  it('runs the loser of a real deadlock again in a fresh transaction, so that both are applied once', async () => {
    const bothHoldOne = meetingOf(2);
    const winnerCommitted = Promise.withResolvers<undefined>();
    let runs = 0;
    const crossing = async (first: number, second: number): Promise<void> => {
      let ownRuns = 0;
      await withTransaction(pool, async (client) => {
        runs += 1;
        ownRuns += 1;
        // Sooner it could take a row that the winner waits for, and be in a deadlock once more.
        if (ownRuns > 1) await winnerCommitted.promise;
        await client.query(`set local deadlock_timeout = '50ms'`);
        await increment(client, first);
        await bothHoldOne();
        await increment(client, second);
      });
      winnerCommitted.resolve(undefined);
    };
    await Promise.all([crossing(1, 2), crossing(2, 1)]);
    expect(runs).toBe(3);
    expect(await values()).toEqual([2, 2]);
  });

  it('tries again when a lock was not to be had, and gives up after its attempts', async () => {
    const holder = await pool.connect();
    await holder.query('begin');
    await increment(holder, 1);
    let runs = 0;
    const blocked = withTransaction(
      pool,
      async (client) => {
        runs += 1;
        await client.query(`set local lock_timeout = '20ms'`);
        await increment(client, 1);
      },
      { attempts: 3 },
    );
    await expect(blocked).rejects.toMatchObject({ code: '55P03' });
    expect(runs).toBe(3);
    await holder.query('rollback');
    holder.release();
  });

  it('does not try again what would fail again', async () => {
    let runs = 0;
    const duplicate = withTransaction(pool, async (client) => {
      runs += 1;
      await client.query('insert into counter values (1, 0)');
    });
    await expect(duplicate).rejects.toMatchObject({ code: '23505' });
    expect(runs).toBe(1);
  });

  it('says so when a statement failed unnoticed, for which Postgres answers COMMIT with ROLLBACK', async () => {
    const careless = withTransaction(pool, async (client) => {
      await increment(client, 1);
      await client.query('select 1 / 0').catch(() => undefined);
    });
    await expect(careless).rejects.toThrow('rolled back');
    expect(await values()).toEqual([0, 0]);
  });

  it('gives a connection that died up, and the next transaction has another', async () => {
    const dying = withTransaction(pool, async (client) => {
      await increment(client, 1);
      const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
      await pool.query('select pg_terminate_backend($1, 5000)', [rows[0]?.pid]);
      await increment(client, 1);
    });
    await expect(dying).rejects.toThrow();
    await withTransaction(pool, (client) => increment(client, 2));
    expect(await values()).toEqual([0, 1]);
  });
});
