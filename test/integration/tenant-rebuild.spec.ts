import { Redis } from 'ioredis';
import { Client } from 'pg';
import { Invariants } from '../../src/billing/invariants/invariants.service';
import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import { nanoUsd } from '../../src/kernel/money';
import { ScriptRegistry } from '../../src/platform/redis/script-registry';
import { EpochAuthority } from '../../src/quota/epoch-authority';
import { holdsKey, quotaKey } from '../../src/quota/quota-keys';
import { TenantRebuild } from '../../src/quota/warm-up/tenant-rebuild';
import { newId } from '../../src/kernel/ids';
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

describe('the rebuild of one tenant, on command', () => {
  let database: TestDatabase;
  let redis: TestRedis;
  let money: MoneyProcess;
  let operator: Redis;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
    money = await startMoneyProcess({ databaseUrl: database.url, redisUrl: redis.url });
    operator = new Redis(redis.url);
  });

  afterAll(async () => {
    operator.disconnect();
    await money.close();
    await redis.stop();
    await database.drop();
  });

  const rebuild = (tenantId: string) => money.module.get(TenantRebuild).rebuild(tenantId);
  const violated = async () =>
    (await money.module.get(Invariants).check()).filter(({ verdict }) => verdict !== 'holds');

  it('puts right whatever somebody wrote into the projection, and keeps the holds that have no row yet', async () => {
    const limits = await createTenant(money, nanoUsd(10_000n), { dailyQuota: 100 });
    const { tenantId } = limits;
    const settled = await openCharge(money, limits, 500n);
    const open = await openCharge(money, limits, 300n);
    await open.durable();
    await settled.settle(outputOf(400));
    expect((await reserve(money, limits, 70n)).admitted).toBe(true);
    await money.module.get(ProjectionQueue).drain(2_000);
    const epoch = money.module.get(EpochAuthority).current;

    await operator.hset(quotaKey(tenantId), 'posted', '1', 'held', '9', 'c:day', '5:6:77');
    await operator.hdel(holdsKey(tenantId), open.held.holdId);
    await operator.hset(holdsKey(tenantId), settled.held.holdId, `500|wallet|0|${newId()}|0|0|`);
    expect(await rebuild(tenantId)).toEqual({
      state: 'rebuilt',
      epoch,
      before: { posted: 1n, held: 9n },
      after: { posted: 9_600n, held: 370n },
      holdsAdded: 1,
      holdsRemoved: 1,
    });
    expect(await usedIn(operator, tenantId, 'day')).toBe('3');
    expect(await operator.hlen(holdsKey(tenantId))).toBe(2);
    expect(money.module.get(EpochAuthority).current).toBe(epoch);
    await open.settle(outputOf(300));
    await money.module.get(ProjectionQueue).drain(2_000);
    expect(await operator.hmget(quotaKey(tenantId), 'posted', 'held')).toEqual(['9300', '70']);
    for (const holdId of await operator.hkeys(holdsKey(tenantId))) await money.store.release(tenantId, [holdId]);
    expect(await violated()).toEqual([]);
  });

  it('changes nothing where nothing is wrong, however often, while charges come and go', async () => {
    const limits = await createTenant(money, nanoUsd(1_000_000n), { dailyQuota: 1_000 });
    const { tenantId } = limits;
    const charge = async (): Promise<void> => {
      const open = await openCharge(money, limits, 100n, false);
      await open.settle(outputOf(37));
    };
    const rebuilds = Array.from({ length: 10 }, () => rebuild(tenantId));
    await Promise.all([...Array.from({ length: 200 }, charge), ...rebuilds]);
    await money.module.get(ProjectionQueue).drain(5_000);
    expect(await operator.hmget(quotaKey(tenantId), 'posted', 'held')).toEqual([String(1_000_000 - 200 * 37), '0']);
    expect(await usedIn(operator, tenantId, 'day')).toBe('200');
    expect(await violated()).toEqual([]);
  });

  it('says so where the tenant is not projected', async () => {
    const limits = await createTenant(money, nanoUsd(10n));
    expect(await rebuild(limits.tenantId)).toEqual({ state: 'not_projected' });
  });

  it('leaves nothing to be trusted where its transaction was cut off after Redis was told', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    await reserve(money, limits, 10n);
    const before = money.module.get(EpochAuthority).current;
    const owner = new Client({ connectionString: database.url });
    await owner.connect();
    const scripts = money.module.get(ScriptRegistry);
    const bind = scripts.bind.bind(scripts);
    jest.spyOn(scripts, 'bind').mockImplementation((name) => {
      const script = bind(name);
      if (name !== 'quota_rebuild') return script;
      return async (...args) => {
        const reply = await script(...args);
        await owner.query(
          `select pg_terminate_backend(pid) from pg_stat_activity
            where state = 'idle in transaction' and datname = current_database() and pid <> pg_backend_pid()`,
        );
        return reply;
      };
    });
    await expect(rebuild(limits.tenantId)).rejects.toMatchObject({ name: 'QuotaUnavailableError' });
    jest.restoreAllMocks();
    await owner.end();
    expect(money.module.get(EpochAuthority).current).toBe(before + 1n);
    expect((await reserve(money, limits, 1_000n)).admitted).toBe(true);
  });
});
