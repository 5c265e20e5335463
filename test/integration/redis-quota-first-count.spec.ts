import { newId } from '../../src/kernel/ids';
import { nanoUsd } from '../../src/kernel/money';
import { QuotaUnavailableError } from '../../src/quota/quota-store.port';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { eventually } from '../support/eventually';
import { createTenant, type MoneyProcess, openCharge, reserve, startMoneyProcess } from '../support/money-harness';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { startTestRedis, type TestRedis } from '../support/test-redis';

const WAIT_MS = 1_000;
const KEYS = 12;

describe('the first calls that a request quota meets while Redis decides', () => {
  let database: TestDatabase;
  let redis: TestRedis;
  let money: MoneyProcess;
  let limits: CallerLimits;
  /** Of the tenant's calls: each statement that reads them, and whether it has been let through. */
  let looksBack = 0;
  let gate: PromiseWithResolvers<undefined>;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
    money = await startMoneyProcess({
      databaseUrl: database.url,
      redisUrl: redis.url,
      billingWaitMs: WAIT_MS,
      processBeatMs: 3_600_000,
    });
  });

  afterAll(async () => {
    await money.close();
    await redis.stop();
    await database.drop();
  });

  beforeEach(async () => {
    limits = await createTenant(money, nanoUsd(1_000n));
    for (let call = 0; call < 3; call += 1) await (await openCharge(money, limits, 1n)).durable();
    limits = { ...limits, dailyQuota: 3 + KEYS, monthlyQuota: 100 };
    looksBack = 0;
    gate = Promise.withResolvers();
    const query = money.pool.query.bind(money.pool) as (...args: readonly unknown[]) => Promise<unknown>;
    const gated: unknown = async (...args: readonly unknown[]) => {
      if (typeof args[0] === 'string' && args[0].includes('day_window_start')) {
        looksBack += 1;
        await gate.promise;
      }
      return query(...args);
    };
    jest.spyOn(money.pool, 'query').mockImplementation(gated as never);
  });

  afterEach(() => {
    jest.restoreAllMocks();
  });

  it('look back once, however many keys call at once, and count what was found', async () => {
    const ofAKey = (): CallerLimits => ({
      ...limits,
      key: { apiKeyId: newId(), budget: nanoUsd(100n), usd5h: null, usd1d: null, usd7d: null },
    });
    const keys = Array.from({ length: KEYS }, ofAKey);
    const calls = keys.map((key) => reserve(money, key, 1n));
    await eventually('somebody looks back', () => looksBack > 0 || undefined);
    await reserve(money, { ...limits, dailyQuota: null, monthlyQuota: null }, 1n);
    gate.resolve(undefined);
    expect((await Promise.all(calls)).map(({ admitted }) => admitted)).toEqual(keys.map(() => true));
    expect(looksBack).toBe(1);
    expect(await reserve(money, limits, 1n)).toMatchObject({
      refusal: { code: 'QUOTA_DAILY_EXCEEDED', quota: { limit: BigInt(3 + KEYS), used: BigInt(3 + KEYS) } },
    });
  });

  it('wait no longer than any call, and what was found by then serves the next one', async () => {
    const startedMs = performance.now();
    const first = reserve(money, limits, 1n).catch((error: unknown) => error);
    setTimeout(() => {
      gate.resolve(undefined);
    }, 3 * WAIT_MS);
    expect(await first).toBeInstanceOf(QuotaUnavailableError);
    expect(performance.now() - startedMs).toBeLessThan(2 * WAIT_MS);
    gate.resolve(undefined);
    expect(await reserve(money, limits, 1n)).toMatchObject({ admitted: true });
    expect(looksBack).toBe(1);
  });
});
