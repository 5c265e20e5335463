import { Redis } from 'ioredis';
import { Client } from 'pg';
import { Invariants } from '../../src/billing/invariants/invariants.service';
import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import { CLOCK, type Clock } from '../../src/kernel/clock';
import { newId } from '../../src/kernel/ids';
import { type NanoUsd, nanoUsd } from '../../src/kernel/money';
import { ScriptRegistry } from '../../src/platform/redis/script-registry';
import { EpochAuthority } from '../../src/quota/epoch-authority';
import { holdsKey, quotaKey } from '../../src/quota/quota-keys';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { TenantRebuild } from '../../src/quota/warm-up/tenant-rebuild';
import {
  createTenant,
  holdRequest,
  type MoneyProcess,
  ONE_NANO_A_TOKEN,
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
    money = await startMoneyProcess({ databaseUrl: database.url, redisUrl: redis.url, processBeatMs: 3_600_000 });
    operator = new Redis(redis.url);
  });

  afterAll(async () => {
    operator.disconnect();
    await money.close();
    await redis.stop();
    await database.drop();
  });

  afterEach(() => {
    jest.restoreAllMocks();
  });

  const epochs = (): EpochAuthority => money.module.get(EpochAuthority);
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
    await money.module.get(ProjectionQueue).drain(15_000);
    const epoch = epochs().current;

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
    expect(epochs().current).toBe(epoch);
    await open.settle(outputOf(300));
    await money.module.get(ProjectionQueue).drain(15_000);
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

  it('waits for a tenant whose wallet somebody has for a moment, longer than a call waits for a lock', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    await reserve(money, limits, 10n);
    const somebody = new Client({ connectionString: database.url });
    await somebody.connect();
    await somebody.query('begin');
    await somebody.query(`select from ledger_account where tenant_id = $1 for update`, [limits.tenantId]);
    const rebuilt = rebuild(limits.tenantId);
    await somebody.query('select pg_sleep(0.6)');
    await somebody.query('rollback');
    await somebody.end();
    expect(await rebuilt).toMatchObject({ state: 'rebuilt', after: { held: 10n } });
  });

  it('says so where the tenant is not projected', async () => {
    const limits = await createTenant(money, nanoUsd(10n));
    expect(await rebuild(limits.tenantId)).toEqual({ state: 'not_projected' });
  });

  it.each<[string, (tenantId: string) => Promise<unknown>]>([
    ['the holds are gone', (tenantId) => operator.del(holdsKey(tenantId))],
    ['a field is gone', (tenantId) => operator.hdel(quotaKey(tenantId), 'version')],
    ['a counter is gone', (tenantId) => operator.hdel(quotaKey(tenantId), 'c:day')],
    ['a field is no number', (tenantId) => operator.hset(quotaKey(tenantId), 'held', 'x')],
    ['the epoch is no number', (tenantId) => operator.hset(quotaKey(tenantId), 'epoch', 'x')],
    ['the balance is of another type', (tenantId) => operator.set(quotaKey(tenantId), 'x')],
    ['the holds are of another type', (tenantId) => operator.set(holdsKey(tenantId), 'x')],
    [
      'a hold cannot be read',
      async (tenantId) => {
        const [holdId = ''] = await operator.hkeys(holdsKey(tenantId));
        return operator.hset(holdsKey(tenantId), holdId, 'x');
      },
    ],
  ])('trusts nothing any more where %s: a hold without a row may be lost', async (_where, damage) => {
    const limits = await createTenant(money, nanoUsd(1_000n), { dailyQuota: 100 });
    const request = holdRequest(limits, 1_000n);
    const outcome = await money.store.reserve(request);
    if (!outcome.admitted) throw new Error('refused');
    const before = epochs().current;
    await damage(limits.tenantId);
    expect(await rebuild(limits.tenantId)).toEqual({ state: 'discarded', epoch: before + 1n });
    // Whoever is admitted now has the money, and the first hold can no longer be charged beside it.
    const second = await openCharge(money, limits, 1_000n);
    expect(await second.durable()).toBeUndefined();
    const first = money.charges.begin(outcome.hold, request, ONE_NANO_A_TOKEN);
    if ('code' in first) throw new Error(`refused: ${first.code}`);
    expect(await first.durable()).toMatchObject({ code: 'QUOTA_BALANCE_EXCEEDED' });
    await second.settle(outputOf(1));
    await money.module.get(ProjectionQueue).drain(15_000);
    expect(await violated()).toEqual([]);
  });

  /** Each call of one script to Redis, with what happens around it. */
  function around(
    name: string,
    happens: { readonly before?: () => Promise<unknown>; readonly after?: () => Promise<unknown> },
  ): void {
    const scripts = money.module.get(ScriptRegistry);
    const bind = scripts.bind.bind(scripts);
    jest.spyOn(scripts, 'bind').mockImplementation((wanted) => {
      const script = bind(wanted);
      if (wanted !== name) return script;
      return async (...args) => {
        await happens.before?.();
        const reply = await script(...args);
        await happens.after?.();
        return reply;
      };
    });
  }

  it('counts what ends while it is under way once, whether it has a row or not', async () => {
    const limits = await createTenant(money, nanoUsd(10_000n), { dailyQuota: 100, tpm: 10_000 });
    const { tenantId } = limits;
    const [stays, goes] = [await reserve(money, limits, 70n), await reserve(money, limits, 90n)];
    const [open, settled] = [await openCharge(money, limits, 300n), await openCharge(money, limits, 500n)];
    await Promise.all([open.durable(), settled.durable()]);
    if (!stays.admitted || !goes.admitted) throw new Error('refused');
    // Redis is told of this one only after the holds were taken apart.
    const queue = money.module.get(ProjectionQueue);
    const late: Parameters<typeof queue.settle>[] = [];
    jest.spyOn(queue, 'settle').mockImplementation((...args) => void late.push(args));
    await settled.settle(outputOf(400));
    jest.restoreAllMocks();
    let isTold = false;
    around('quota_rebuild', {
      after: async () => {
        if (isTold) return;
        isTold = true;
        await money.store.release(tenantId, [goes.hold.holdId]);
        for (const [, ended, posted] of late) await money.store.settle(tenantId, [ended], posted);
      },
    });
    expect(await rebuild(tenantId)).toMatchObject({
      state: 'rebuilt',
      before: { posted: 10_000n, held: 960n },
      after: { posted: 9_600n, held: 370n },
    });
    expect(late).toHaveLength(1);
    const fields = await operator.hmget(quotaKey(tenantId), 'posted', 'held', 'open');
    expect([...fields, await usedIn(operator, tenantId, 'day')]).toEqual(['9600', '370', '2', '3']);
    expect(await operator.hget(`tg:{${tenantId}}:rate:tpm`, 'sum')).toBe('770');
    await money.store.release(tenantId, [stays.hold.holdId]);
    await open.settle(outputOf(300));
    await queue.drain(15_000);
    expect(await violated()).toEqual([]);
  });

  it('keeps a hold as Redis has raised it while its row waits for the wallet', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n), { dailyQuota: 100 });
    const open = await openCharge(money, limits, 300n);
    expect(await open.durable()).toBeUndefined();
    const { holdId, epoch } = open.held;
    const raise = { holdId, limits, epoch, amount: nanoUsd(500n), service: 'chat', platform: 'openai' } as const;
    expect(await money.store.extend(raise)).toEqual({ extended: true });
    expect(await rebuild(limits.tenantId)).toMatchObject({ state: 'rebuilt', after: { held: 500n } });
    await open.settle(outputOf(450));
    await money.module.get(ProjectionQueue).drain(15_000);
    expect(await operator.hmget(quotaKey(limits.tenantId), 'posted', 'held')).toEqual(['550', '0']);
  });

  it('lets a counter that was read from the ledger before it, and is told after it, be what it has become', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n), { key: keyOf(nanoUsd(500n)) });
    const { tenantId } = limits;
    await reserve(money, { ...limits, key: null }, 1n);
    let isFirst = true;
    around('quota_learn', {
      before: async () => {
        if (!isFirst) return;
        isFirst = false;
        // Another process meets the counter, charges in it, and an administrator rebuilds: all before our reading arrives.
        const other = await startMoneyProcess({ databaseUrl: database.url, redisUrl: redis.url });
        const charge = await openCharge(other, limits, 100n);
        await charge.settle(outputOf(60));
        await other.module.get(ProjectionQueue).drain(15_000);
        await other.close();
        await rebuild(tenantId);
      },
    });
    expect(await reserve(money, limits, 441n)).toMatchObject({ refusal: { code: 'QUOTA_BUDGET_EXCEEDED' } });
    expect(isFirst).toBe(false);
    expect(await usedIn(operator, tenantId, `key:${limits.key?.apiKeyId ?? ''}:budget`)).toBe('60');
  });

  it('waits for another one, and finishes it where it was committed and not activated', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    await reserve(money, limits, 10n);
    const before = epochs().current;
    around('quota_activate', { before: () => Promise.reject(new Error('the process died')) });
    await expect(rebuild(limits.tenantId)).rejects.toMatchObject({ name: 'QuotaUnavailableError' });
    jest.restoreAllMocks();
    expect(await rebuild(limits.tenantId)).toMatchObject({ state: 'rebuilt', after: { held: 10n } });
    expect(await reserve(money, limits, 990n)).toMatchObject({ admitted: true });
    expect(epochs().current).toBe(before);
  });

  it.each(['quota_rebuild', 'quota_lay'])(
    'leaves nothing to be trusted where its transaction was cut off after %s',
    async (script) => {
      const limits = await createTenant(money, nanoUsd(1_000n));
      await reserve(money, limits, 10n);
      const before = epochs().current;
      const owner = new Client({ connectionString: database.url });
      await owner.connect();
      around(script, {
        after: () =>
          owner.query(
            `select pg_terminate_backend(pid) from pg_stat_activity
              where state = 'idle in transaction' and datname = current_database() and pid <> pg_backend_pid()`,
          ),
      });
      await expect(rebuild(limits.tenantId)).rejects.toMatchObject({ name: 'QuotaUnavailableError' });
      jest.restoreAllMocks();
      await owner.end();
      expect(await rebuild(limits.tenantId)).toEqual({ state: 'not_projected' });
      expect((await reserve(money, limits, 1_000n)).admitted).toBe(true);
      expect(epochs().current).toBe(before + 1n);
    },
  );

  it('changes nothing, and costs no epoch, where Redis gets its command too late', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    await reserve(money, limits, 10n);
    const [before, state] = [epochs().current, await operator.hgetall(quotaKey(limits.tenantId))];
    const clock = money.module.get<Clock>(CLOCK);
    let readings = 0;
    // Between reading the server's clock and the first command ten seconds are believed to have gone backwards.
    jest.spyOn(clock, 'monotonicMs').mockImplementation(() => performance.now() - (readings++ === 0 ? 0 : 10_000));
    await expect(rebuild(limits.tenantId)).rejects.toMatchObject({ name: 'QuotaUnavailableError' });
    jest.restoreAllMocks();
    expect(await operator.hgetall(quotaKey(limits.tenantId))).toEqual(state);
    expect(await reserve(money, limits, 990n)).toMatchObject({ admitted: true });
    expect(epochs().current).toBe(before);
  });

  it('follows an epoch that this process has not heard of', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    const before = epochs().current;
    const owner = new Client({ connectionString: database.url });
    await owner.connect();
    await owner.query(`alter table quota_authority disable trigger quota_authority_changed`);
    await owner.query(`update quota_authority set epoch = epoch + 1`);
    const other = await startMoneyProcess({ databaseUrl: database.url, redisUrl: redis.url });
    await reserve(other, limits, 10n);
    await other.close();
    await owner.query(`alter table quota_authority enable trigger quota_authority_changed`);
    await owner.end();
    expect(epochs().current).toBe(before);
    expect(await rebuild(limits.tenantId)).toMatchObject({
      state: 'rebuilt',
      epoch: before + 1n,
      after: { held: 10n },
    });
  });
});

function keyOf(budget: NanoUsd): CallerLimits['key'] {
  return { apiKeyId: newId(), budget, usd5h: null, usd1d: null, usd7d: null };
}
