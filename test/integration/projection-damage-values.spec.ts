import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import { CLOCK, type Clock } from '../../src/kernel/clock';
import { newId } from '../../src/kernel/ids';
import { nanoUsd } from '../../src/kernel/money';
import { EpochAuthority } from '../../src/quota/epoch-authority';
import { holdsKey, quotaKey } from '../../src/quota/quota-keys';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { TenantWarmUp } from '../../src/quota/warm-up/tenant-warm-up';
import {
  createTenant,
  holdRequest,
  type MoneyProcess,
  openCharge,
  outputOf,
  reserve,
  startMoneyProcess,
} from '../support/money-harness';
import { usedIn } from '../support/projection';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { startTestRedis, type TestRedis } from '../support/test-redis';

/** As BILLING_CIRCUIT_FAILURES is by default: so many failures in a row, and Postgres decides for everybody. */
const CIRCUIT_FAILURES = 5;
const NOT_HELD = 401n;
const REST = 400n;

describe('a projection in Redis with values that no script can work on', () => {
  let database: TestDatabase;
  let redis: TestRedis;
  let money: MoneyProcess;
  let epochs: EpochAuthority;
  let limits: CallerLimits;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
    money = await startMoneyProcess({
      databaseUrl: database.url,
      redisUrl: redis.url,
      processBeatMs: 3_600_000,
      billingCircuitFailures: CIRCUIT_FAILURES,
    });
    epochs = money.module.get(EpochAuthority);
  });

  afterAll(async () => {
    await money.close();
    await redis.stop();
    await database.drop();
  });

  beforeEach(async () => {
    limits = await createTenant(money, nanoUsd(1_000n), { dailyQuota: 100 });
  });

  afterEach(() => {
    jest.restoreAllMocks();
  });

  async function anotherType(key: string): Promise<void> {
    await money.redis.client.multi().del(key).set(key, 'x').exec();
  }

  const field = (name: string): (() => Promise<unknown>) => {
    return () => money.redis.client.hset(quotaKey(limits.tenantId), name, 'x');
  };

  const DAMAGES: [string, () => Promise<unknown>][] = [
    ['the balance is of another type', () => anotherType(quotaKey(limits.tenantId))],
    ['the holds are of another type', () => anotherType(holdsKey(limits.tenantId))],
    ['what is held is no number', field('held')],
    ['the epoch is no number', field('epoch')],
    ['a counter is no window', field('c:day')],
  ];

  const drained = (): Promise<boolean> => money.module.get(ProjectionQueue).drain(15_000);

  describe.each(DAMAGES)('where %s', (_where, damage) => {
    it('is rebuilt, exactly and once, and no other tenant notices', async () => {
      const other = await createTenant(money, nanoUsd(1_000n));
      const open = await openCharge(money, limits, 600n);
      expect(await open.durable()).toBeUndefined();
      const before = epochs.current;
      await damage();
      for (let call = 0; call < 2 * CIRCUIT_FAILURES; call += 1) {
        expect(await reserve(money, limits, NOT_HELD)).toMatchObject({ refusal: { code: 'QUOTA_BALANCE_EXCEEDED' } });
        expect(await reserve(money, other, 1n)).toMatchObject({ admitted: true });
      }
      expect([epochs.mode, epochs.current]).toEqual(['redis', before + 1n]);
      const rest = await openCharge(money, limits, REST);
      await open.settle(outputOf(600));
      await rest.settle(outputOf(10));
      expect(await drained()).toBe(true);
      const projected = await money.redis.client.hmget(quotaKey(limits.tenantId), 'held', 'posted');
      expect([...projected, await usedIn(money.redis.client, limits.tenantId, 'day')]).toEqual(['0', '390', '2']);
    });

    it('takes the endings of its charges: its rebuild reads them from the ledger', async () => {
      const [settled, voided, open] = [
        await openCharge(money, limits, 100n),
        await openCharge(money, limits, 200n),
        await openCharge(money, limits, 300n),
      ];
      for (const charge of [settled, voided, open]) expect(await charge.durable()).toBeUndefined();
      await damage();
      await settled.settle(outputOf(10));
      await voided.void({ reasonCode: 'UPSTREAM_ERROR', endReason: 'failed' });
      expect(await drained()).toBe(true);
      expect(await reserve(money, limits, 691n)).toMatchObject({ refusal: { code: 'QUOTA_BALANCE_EXCEEDED' } });
      expect(await reserve(money, limits, 690n)).toMatchObject({ admitted: true });
    });

    it('keeps no place in the queue for calls that were given up, and holds nothing for them', async () => {
      expect(await reserve(money, limits, 100n)).toMatchObject({ admitted: true });
      const before = epochs.current;
      await damage();
      const requests = Array.from({ length: 600 }, () => holdRequest(limits, 1n));
      for (const { holdId } of requests) money.charges.abandonReserve(limits.tenantId, holdId);
      expect(await drained()).toBe(true);
      expect(epochs.current - before).toBeLessThanOrEqual(1n);
      expect(await reserve(money, limits, 1_000n)).toMatchObject({ admitted: true });
    });

    it('does not end a stream that outgrows its hold', async () => {
      const open = await openCharge(money, limits, 300n);
      expect(await open.durable()).toBeUndefined();
      await damage();
      expect(await open.extend(nanoUsd(500n))).toBeUndefined();
      expect(await reserve(money, limits, 501n)).toMatchObject({ refusal: { code: 'QUOTA_BALANCE_EXCEEDED' } });
      await open.settle(outputOf(400));
      expect(await drained()).toBe(true);
      expect(await reserve(money, limits, 600n)).toMatchObject({ admitted: true });
    });
  });

  it('does not forgive a key what it has spent where its counter is no window', async () => {
    const key = { apiKeyId: newId(), budget: nanoUsd(100n), usd5h: null, usd1d: null, usd7d: null };
    const keyed = await createTenant(money, nanoUsd(1_000n), { key });
    const spent = await openCharge(money, keyed, 60n);
    await spent.settle(outputOf(60));
    expect(await drained()).toBe(true);
    await money.redis.client.hset(quotaKey(keyed.tenantId), `c:key:${key.apiKeyId}:budget`, 'x');
    expect(await reserve(money, keyed, 41n)).toMatchObject({ refusal: { code: 'QUOTA_BUDGET_EXCEEDED' } });
    expect(await reserve(money, keyed, 40n)).toMatchObject({ admitted: true });
  });

  it('costs no epoch where it is one of an older epoch: nobody relies on it', async () => {
    expect(await reserve(money, limits, 1n)).toMatchObject({ admitted: true });
    await epochs.raiseBeyond(epochs.current, 'a test');
    const before = epochs.current;
    await anotherType(quotaKey(limits.tenantId));
    expect(await reserve(money, limits, 1_000n)).toMatchObject({ admitted: true });
    expect(epochs.current).toBe(before);
  });

  it('is laid over, whatever is there', async () => {
    await epochs.raiseBeyond(epochs.current, 'a test');
    for (const key of [quotaKey(limits.tenantId), holdsKey(limits.tenantId)]) await anotherType(key);
    await money.module.get(TenantWarmUp).install(limits, epochs.current, Infinity);
    const { epoch, posted } = await money.redis.client.hgetall(quotaKey(limits.tenantId));
    expect({ epoch, posted }).toEqual({ epoch: epochs.current.toString(), posted: '1000' });
    expect(await money.redis.client.exists(holdsKey(limits.tenantId))).toBe(0);
  });

  it('is not rebuilt for ever where a rebuild does not heal it: that tenant waits', async () => {
    const clock = money.module.get<Clock>(CLOCK);
    const monotonic = jest.spyOn(clock, 'monotonicMs');
    const breakIt = (): Promise<unknown> => money.redis.client.hset(quotaKey(limits.tenantId), 'held', 'x');
    expect(await reserve(money, limits, 1n)).toMatchObject({ admitted: true });
    const before = epochs.current;
    await breakIt();
    expect(await reserve(money, limits, 1n)).toMatchObject({ admitted: true });
    await breakIt();
    await expect(reserve(money, limits, 1n)).rejects.toMatchObject({ name: 'QuotaUnavailableError', mayHold: true });
    expect([epochs.mode, epochs.current]).toEqual(['redis', before + 1n]);
    monotonic.mockImplementation(() => performance.now() + 10_000);
    expect(await reserve(money, limits, 1_000n)).toMatchObject({ admitted: true });
    expect(epochs.current).toBe(before + 2n);
  });

  it('begins a rolling counter of another type anew, and keeps its epoch', async () => {
    limits = await createTenant(money, nanoUsd(1_000n), { rpm: 2, tpm: 1_000 });
    const before = epochs.current;
    const open = await openCharge(money, limits, 100n);
    const rates = await money.redis.client.keys(`tg:{${limits.tenantId}}:rate:*`);
    expect(rates).toHaveLength(2);
    for (const key of rates) await anotherType(key);
    await open.void({ reasonCode: 'UPSTREAM_ERROR', endReason: 'failed' });
    expect(await drained()).toBe(true);
    for (let call = 0; call < 2; call += 1) expect(await reserve(money, limits, 1n)).toMatchObject({ admitted: true });
    expect(await reserve(money, limits, 1n)).toMatchObject({ refusal: { code: 'TENANT_RPM_EXCEEDED' } });
    expect(epochs.current).toBe(before);
  });
});
