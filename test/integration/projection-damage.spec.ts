import { Redis } from 'ioredis';
import { Invariants } from '../../src/billing/invariants/invariants.service';
import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import { CLOCK, type Clock } from '../../src/kernel/clock';
import { nanoUsd } from '../../src/kernel/money';
import { holdsKey, quotaKey } from '../../src/quota/quota-keys';
import {
  createTenant,
  type MoneyProcess,
  openCharge,
  outputOf,
  reserve,
  startMoneyProcess,
} from '../support/money-harness';
import { usedIn } from '../support/projection';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { startTestRedis, type TestRedis } from '../support/test-redis';

describe('a projection in Redis that is not whole', () => {
  let database: TestDatabase;
  let redis: TestRedis;
  let money: MoneyProcess;
  let operator: Redis;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
    money = await startMoneyProcess({ databaseUrl: database.url, redisUrl: redis.url, processBeatMs: 3_600_000 });
    operator = new Redis(redis.url);
  });

  afterAll(async () => {
    await money.close();
    operator.disconnect();
    await redis.stop();
    await database.drop();
  });

  async function epoch(): Promise<number> {
    const { rows } = await money.pool.query<{ epoch: string }>(`select epoch from quota_authority`);
    return Number(rows[0]?.epoch);
  }

  it('is rebuilt, exactly, where only the open holds are gone', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n), { dailyQuota: 3 });
    const open = await openCharge(money, limits, 600n);
    expect(await open.durable()).toBeUndefined();
    const before = await epoch();
    await operator.del(holdsKey(limits.tenantId));
    expect(await reserve(money, limits, 401n)).toMatchObject({ refusal: { code: 'QUOTA_BALANCE_EXCEEDED' } });
    expect(await epoch()).toBe(before + 1);
    const second = await openCharge(money, limits, 400n);
    expect(await operator.hlen(holdsKey(limits.tenantId))).toBe(2);
    await open.settle(outputOf(600));
    await second.settle(outputOf(10));
    await money.module.get(ProjectionQueue).drain(15_000);
    expect(await operator.hmget(quotaKey(limits.tenantId), 'held', 'posted')).toEqual(['0', '390']);
    expect(await usedIn(operator, limits.tenantId, 'day')).toBe('2');
    const results = await money.module.get(Invariants).check();
    expect(results.filter(({ verdict }) => verdict !== 'holds')).toEqual([]);
  });

  it.each(['posted', 'held', 'version', 'counters', 'c:day'])(
    'is rebuilt where the field %s is gone',
    async (field) => {
      const limits = await createTenant(money, nanoUsd(1_000n), { dailyQuota: 2 });
      const open = await openCharge(money, limits, 600n);
      expect(await open.durable()).toBeUndefined();
      await operator.hdel(quotaKey(limits.tenantId), field);
      expect(await reserve(money, limits, 401n)).toMatchObject({ refusal: { code: 'QUOTA_BALANCE_EXCEEDED' } });
      expect(await reserve(money, limits, 400n)).toMatchObject({ admitted: true });
      expect(await reserve(money, limits, 0n)).toMatchObject({ refusal: { code: 'QUOTA_DAILY_EXCEEDED' } });
      expect(await operator.hget(quotaKey(limits.tenantId), field)).not.toBeNull();
    },
  );

  it('costs no epoch where nothing is held: then there is no hash of holds', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    const charge = await openCharge(money, limits, 600n);
    await charge.settle(outputOf(1));
    await money.module.get(ProjectionQueue).drain(15_000);
    const before = await epoch();
    expect(await operator.exists(holdsKey(limits.tenantId))).toBe(0);
    expect(await reserve(money, limits, 999n)).toMatchObject({ admitted: true });
    expect(await epoch()).toBe(before);
  });

  it('is not left behind by a reservation that reaches Redis after its caller has given it up', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n), { dailyQuota: 1 });
    expect(await reserve(money, limits, 1_001n)).toMatchObject({ admitted: false });
    await operator.call('CLIENT', 'PAUSE', '60000', 'WRITE');
    await expect(reserve(money, limits, 600n)).rejects.toMatchObject({ name: 'QuotaUnavailableError', mayHold: true });
    await operator.call('CLIENT', 'UNPAUSE');
    expect(await money.redis.client.hlen(holdsKey(limits.tenantId))).toBe(0);
    expect(await reserve(money, limits, 1_000n)).toMatchObject({ admitted: true });
  });

  it('is not left behind either after the clock of Redis was set back', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    expect(await reserve(money, limits, 1_001n)).toMatchObject({ admitted: false });
    const clock = money.module.get<Clock>(CLOCK);
    // What we have learned of the server's clock is now a minute and a half ahead of it.
    const monotonic = jest.spyOn(clock, 'monotonicMs').mockImplementation(() => performance.now() + 90_000);
    try {
      await operator.call('CLIENT', 'PAUSE', '60000', 'WRITE');
      await expect(reserve(money, limits, 600n)).rejects.toMatchObject({ mayHold: true });
      await operator.call('CLIENT', 'UNPAUSE');
      expect(await reserve(money, limits, 1_000n)).toMatchObject({ admitted: true });
    } finally {
      monotonic.mockRestore();
    }
  });

  it('needs no release where the server is not to be used, because nothing was sent', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    const reasons = jest.spyOn(money.redis, 'whyNotReady', 'get').mockReturnValue('it may evict money');
    try {
      const refused = { name: 'QuotaUnavailableError', message: 'it may evict money', mayHold: false };
      await expect(reserve(money, limits, 600n)).rejects.toMatchObject(refused);
    } finally {
      reasons.mockRestore();
    }
    expect(await operator.exists(holdsKey(limits.tenantId))).toBe(0);
  });

  it('is not left behind either where the clock of Redis is far from ours', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    const clock = money.module.get<Clock>(CLOCK);
    const monotonic = jest.spyOn(clock, 'monotonicMs').mockImplementation(() => performance.now() - 3_600_000);
    try {
      // We now lag an hour behind what was learned of the server's clock: it says so once, and is believed.
      expect(await reserve(money, limits, 1_000n)).toMatchObject({ admitted: true });
    } finally {
      monotonic.mockRestore();
    }
  });
});
