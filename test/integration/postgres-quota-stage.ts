import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import { CLOCK, type Clock } from '../../src/kernel/clock';
import { newId } from '../../src/kernel/ids';
import { nanoUsd } from '../../src/kernel/money';
import type { QuotaMode } from '../../src/quota/authority-row';
import { EpochAuthority } from '../../src/quota/epoch-authority';
import type { AdmittedHold, ReserveOutcome } from '../../src/quota/quota-store.port';
import type { CallerLimits, KeyLimits, SubscriptionLimits } from '../../src/quota/scopes/caller-limits';
import { holdRequest, type MoneyProcess, startMoneyProcess } from '../support/money-harness';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { startTestRedis, type TestRedis } from '../support/test-redis';

export const PLENTY = nanoUsd(1_000_000n);
/** Noon of a Wednesday in the middle of a month: no window of the calendar ends near it. */
export const NOON_MS = Date.UTC(2027, 5, 16, 12);

/** One process with real servers, whose quota is decided by the store that a test is about, at a time that it chooses. */
export class QuotaStage {
  private constructor(
    readonly money: MoneyProcess,
    private readonly database: TestDatabase,
    private readonly redis: TestRedis,
  ) {}

  static async open(mode: QuotaMode): Promise<QuotaStage> {
    const [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
    const money = await startMoneyProcess({
      databaseUrl: database.url,
      redisUrl: redis.url,
      processBeatMs: 3_600_000,
      testClockOffsetMs: NOON_MS - Date.now(),
    });
    if (mode === 'postgres') await money.module.get(EpochAuthority).switchToPostgres('test');
    return new QuotaStage(money, database, redis);
  }

  /** OffsetClock is mutable; the port is not. */
  get clock(): { offsetMs: number } {
    return this.money.module.get<{ offsetMs: number } & Clock>(CLOCK);
  }

  /** How much the tenant's own money would still admit. */
  async available(limits: CallerLimits): Promise<bigint> {
    const hold = await admitted(this.money.store.quote(holdRequest({ ...limits, subscription: null }, 0n)));
    return hold.balanceBefore;
  }

  /** Resolves when whoever decides knows of every ending. */
  told(): Promise<boolean> {
    return this.money.module.get(ProjectionQueue).drain(15_000);
  }

  async close(): Promise<void> {
    await this.money.close();
    await this.redis.stop();
    await this.database.drop();
  }
}

export async function admitted(outcome: Promise<ReserveOutcome>): Promise<AdmittedHold> {
  const answer = await outcome;
  if (!answer.admitted) throw new Error(`refused: ${answer.refusal.code}`);
  return answer.hold;
}

export function keyLimits(overrides: Partial<KeyLimits>): { key: KeyLimits } {
  return { key: { apiKeyId: newId(), budget: null, usd5h: null, usd1d: null, usd7d: null, ...overrides } };
}

export function userLimits(window: 'day' | 'week' | 'month', limit: bigint): Partial<CallerLimits> {
  return {
    user: {
      userId: newId(),
      rpm: null,
      platforms: new Map([['openai', { day: null, week: null, month: null, [window]: nanoUsd(limit) }]]),
    },
  };
}

export function subscription(overrides: Partial<SubscriptionLimits>): { subscription: SubscriptionLimits } {
  const forEver = { isActive: true, startsAtMs: 0, endsAtMs: Infinity };
  return {
    subscription: { subscriptionId: newId(), ...forEver, day: null, week: null, month: null, ...overrides },
  };
}
