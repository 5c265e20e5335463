import { Logger } from '@nestjs/common';
import { ScheduleModule, SchedulerRegistry } from '@nestjs/schedule';
import { Test } from '@nestjs/testing';
import { Pool } from 'pg';
import { createTestDatabase, type TestDatabase } from '../../test/support/test-database';
import { type MonthlyTable, partitionOf, readMonthPartitions } from '../platform/database/month-partitions';
import { APPLICATION_ROLE } from '../platform/database/pg-connection';
import { PG_POOL } from '../platform/database/pg-pool';
import { Metrics } from '../platform/metrics/metrics';
import { MonthKeeper } from './month-keeper';

const TABLES: readonly MonthlyTable[] = ['ledger_transfer', 'request_log', 'request_attempt'];

let database: TestDatabase;
let owner: Pool;
/** As the gateway works: it could make no table by itself. */
let pool: Pool;
let metrics: Metrics;
let logged: jest.SpyInstance[];

beforeEach(async () => {
  database = await createTestDatabase();
  owner = new Pool({ connectionString: database.url, max: 2 });
  pool = new Pool({ connectionString: database.url, max: 4, options: `-c role=${APPLICATION_ROLE}` });
  metrics = new Metrics();
  Logger.overrideLogger(['log', 'error']);
  logged = [
    jest.spyOn(Logger.prototype, 'log').mockReturnValue(),
    jest.spyOn(Logger.prototype, 'error').mockReturnValue(),
  ];
});

afterEach(async () => {
  jest.restoreAllMocks();
  Logger.overrideLogger(false);
  await Promise.all([owner.end(), pool.end()]);
  await database.drop();
});

async function lose(ahead: number): Promise<void> {
  const { current } = await readMonthPartitions(owner);
  for (const table of TABLES) await owner.query(`drop table ${partitionOf(table, current + ahead)}`);
}

async function gauges(): Promise<readonly (string | undefined)[]> {
  const { text } = await metrics.scrape();
  return ['tollgate_partition_months_ahead', 'tollgate_partition_stray_rows'].map(
    (name) => new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1],
  );
}

describe('the month keeper', () => {
  it('makes what is missing with the gateway’s own rights, and tells what is there', async () => {
    await lose(2);
    await lose(1);
    await new MonthKeeper(pool, metrics).keep();
    expect(await gauges()).toEqual(['2', '0']);
    const { current, of } = await readMonthPartitions(owner);
    for (const table of TABLES) expect(of[table]).toEqual([current, current + 1, current + 2]);
  });

  it('makes each once where several processes boot together', async () => {
    await lose(2);
    const keepers = Array.from({ length: 3 }, () => new MonthKeeper(pool, metrics));
    await Promise.all(keepers.map((keeper) => keeper.onApplicationBootstrap()));
    expect(logged[1]).not.toHaveBeenCalled();
    expect((await readMonthPartitions(owner)).of.request_log).toHaveLength(3);
  });

  it('runs once a day', async () => {
    const module = await Test.createTestingModule({
      imports: [ScheduleModule.forRoot()],
      providers: [MonthKeeper, { provide: PG_POOL, useValue: pool }, { provide: Metrics, useValue: metrics }],
    }).compile();
    await module.init();
    const times = module.get(SchedulerRegistry).getCronJob('month-keeper').nextDates(2);
    const [first, second] = times.map((time) => time.toMillis());
    expect(Number(second) - Number(first)).toBe(24 * 3_600_000);
    await module.close();
  });

  it('says once that it cannot, and once that it can again', async () => {
    await lose(2);
    const right = 'execute on function create_month_partitions(timestamptz, integer)';
    await owner.query(`revoke ${right} from ${APPLICATION_ROLE}`);
    const keeper = new MonthKeeper(pool, metrics);
    await keeper.keep();
    await keeper.keep();
    expect(logged[1]).toHaveBeenCalledTimes(1);
    expect(logged[1]).toHaveBeenCalledWith(expect.stringContaining('permission denied'));
    expect(await gauges()).toEqual(['1', '0']);
    await owner.query(`grant ${right} to ${APPLICATION_ROLE}`);
    await keeper.keep();
    expect(logged[0]?.mock.calls.flat()).toContain('partitions of the months to come are there again');
    expect(await gauges()).toEqual(['2', '0']);
  });
});
