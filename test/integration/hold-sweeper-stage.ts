import { SchedulerRegistry } from '@nestjs/schedule';
import { Invariants } from '../../src/billing/invariants/invariants.service';
import type { Clock } from '../../src/kernel/clock';
import type { Settings } from '../../src/platform/config/settings';
import { ProcessIdentity } from '../../src/platform/process/process-identity';
import { DeadCharges } from '../../src/sync/dead-charges';
import { HoldSweeper } from '../../src/sync/hold-sweeper';
import { type MoneyProcess, startMoneyProcess, withPatience } from '../support/money-harness';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { startTestRedis } from '../support/test-redis';
import { testSettings } from '../support/test-settings';

/** Processes started with these write no beat and run no round by themselves: the test decides what happens when. */
export const STILL = { processBeatMs: 3_600_000, processDeadMs: 14_400_000 } as const;

/** What the sweeper under test is set to, by its manual clock. */
export const BEAT_MS = 5_000;
export const DEAD_AFTER_MS = 60_000;

/** Monotonic time that the test moves. */
export class ManualClock implements Clock {
  readonly offsetMs = 0;
  private elapsedMs = 0;

  nowMs(): number {
    return Date.now();
  }

  monotonicMs(): number {
    return this.elapsedMs;
  }

  pass(durationMs: number): void {
    this.elapsedMs += durationMs;
  }
}

/** The sweeper of a process, on a clock of the test's. */
export function sweeperOf({ module, pool }: MoneyProcess, clock: Clock, processBeatMs = BEAT_MS): HoldSweeper {
  return new HoldSweeper(
    pool,
    clock,
    new SchedulerRegistry(),
    module.get(ProcessIdentity),
    module.get(DeadCharges),
    testSettings({ processBeatMs, processDeadMs: DEAD_AFTER_MS }),
  );
}

export interface SweepStage {
  readonly database: TestDatabase;
  /** One more process that stands still; `close` ends it. */
  start(overrides?: Partial<Settings>): Promise<MoneyProcess>;
  close(): Promise<void>;
}

/** Servers of a test's own, and processes on them. */
export async function openSweepStage(): Promise<SweepStage> {
  const [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
  const started: MoneyProcess[] = [];
  return {
    database,
    start: async (overrides = {}) => {
      const servers = { databaseUrl: database.url, redisUrl: redis.url };
      const process = withPatience(await startMoneyProcess({ ...servers, ...STILL, ...overrides }));
      started.push(process);
      return process;
    },
    close: async () => {
      await Promise.all(started.map((process) => process.close()));
      await redis.stop();
      await database.drop();
    },
  };
}

export async function expectInvariants(asked: MoneyProcess): Promise<void> {
  const results = await asked.module.get(Invariants).check();
  expect(results.filter(({ verdict }) => verdict !== 'holds')).toEqual([]);
}

export function idOf(process: MoneyProcess): string {
  return process.module.get(ProcessIdentity).id;
}

/** What its row says of `process`, asked through another one. */
export async function statusOfProcess(asked: MoneyProcess, processId: string): Promise<string | undefined> {
  const { rows } = await asked.pool.query<{ status: string }>(`select status from gateway_process where id = $1`, [
    processId,
  ]);
  return rows[0]?.status;
}

export async function statusOfCharge(asked: MoneyProcess, holdId: string): Promise<string | undefined> {
  const { rows } = await asked.pool.query<{ status: string }>(`select status from billing_transaction where id = $1`, [
    holdId,
  ]);
  return rows[0]?.status;
}
