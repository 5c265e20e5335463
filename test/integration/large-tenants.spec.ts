import { Redis } from 'ioredis';
import { Invariants } from '../../src/billing/invariants/invariants.service';
import type { OpenCharge } from '../../src/billing/settlement/open-charge';
import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import { newId } from '../../src/kernel/ids';
import { type NanoUsd, nanoUsd } from '../../src/kernel/money';
import { ScriptRegistry } from '../../src/platform/redis/script-registry';
import { EpochAuthority } from '../../src/quota/epoch-authority';
import { holdsKey, quotaKey } from '../../src/quota/quota-keys';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { TenantRebuild } from '../../src/quota/warm-up/tenant-rebuild';
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

/** 70,000 counters are what 23,000 keys with three limits leave behind. */
const COUNTERS = 70_000;
const KEYS = 500;
const HOLDS_A_KEY = 10;
const HOLDS = KEYS * HOLDS_A_KEY;
const BUDGET = nanoUsd(1_000n);
/** With everything that stands in one call, whatever the tenant has. */
const MOST_ARGUMENTS = 2_000;
/** Keys that are met at once. */
const AT_ONCE = 25;

describe('a tenant with tens of thousands of counters and thousands of open holds', () => {
  let database: TestDatabase;
  let redis: TestRedis;
  let money: MoneyProcess;
  let operator: Redis;
  let limits: CallerLimits;
  let keys: readonly CallerLimits[];
  let charges: readonly OpenCharge[];
  let mostArguments = 0;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
    money = await startMoneyProcess({ databaseUrl: database.url, redisUrl: redis.url, processBeatMs: 3_600_000 });
    operator = new Redis(redis.url);
    limits = await createTenant(money, nanoUsd(1_000_000n), { dailyQuota: 100_000 });
    await money.pool.query(
      `insert into quota_counter select $1, 'key:' || gen_random_uuid() || ':budget', 0, 0, 0 from generate_series(1, $2::int)`,
      [limits.tenantId, COUNTERS],
    );
    countArguments();
    keys = Array.from({ length: KEYS }, () => ofKey(limits, newId(), BUDGET));
    const opened: OpenCharge[] = [];
    for (let at = 0; at < KEYS; at += AT_ONCE) {
      opened.push(...(await Promise.all(keys.slice(at, at + AT_ONCE).map(openAll))).flat());
    }
    charges = opened;
  }, 120_000);

  afterAll(async () => {
    jest.restoreAllMocks();
    operator.disconnect();
    await money.close();
    await redis.stop();
    await database.drop();
  });

  afterEach(() => {
    expect(mostArguments).toBeLessThan(MOST_ARGUMENTS);
  });

  function countArguments(): void {
    const scripts = money.module.get(ScriptRegistry);
    const bind = scripts.bind.bind(scripts);
    jest.spyOn(scripts, 'bind').mockImplementation((name) => {
      const script = bind(name);
      return (...args) => {
        mostArguments = Math.max(mostArguments, args.length);
        return script(...args);
      };
    });
  }

  async function openAll(ofOneKey: CallerLimits): Promise<OpenCharge[]> {
    const opened: OpenCharge[] = [];
    for (let hold = 0; hold < HOLDS_A_KEY; hold += 1) {
      const charge = await openCharge(money, ofOneKey, 10n);
      expect(await charge.durable()).toBeUndefined();
      opened.push(charge);
    }
    return opened;
  }

  const epochs = (): EpochAuthority => money.module.get(EpochAuthority);
  const drained = (): Promise<boolean> => money.module.get(ProjectionQueue).drain(5_000);
  const violated = async () =>
    (await money.module.get(Invariants).check()).filter(({ verdict }) => verdict !== 'holds');
  const known = async (): Promise<Record<string, string | null>> => {
    const [held = null, open = null] = await operator.hmget(quotaKey(limits.tenantId), 'held', 'open');
    return { held, open, entries: String(await operator.hlen(holdsKey(limits.tenantId))) };
  };

  it('is loaded and served, exactly, and nobody else notices', async () => {
    await epochs().raiseBeyond(epochs().current, 'a test');
    const others = await Promise.all(Array.from({ length: 20 }, () => createTenant(money, nanoUsd(1_000n))));
    const outcomes = await Promise.all([limits, ...others].map((tenant) => reserve(money, tenant, 1n)));
    expect(outcomes.filter(({ admitted }) => admitted)).toHaveLength(21);
    const [{ hold } = { hold: undefined }] = outcomes.flatMap((outcome) => (outcome.admitted ? [outcome] : []));
    expect(await known()).toEqual({
      held: String(10 * HOLDS + 1),
      open: String(HOLDS + 1),
      entries: String(HOLDS + 1),
    });
    expect(await usedIn(operator, limits.tenantId, 'day')).toBe(String(HOLDS + 1));
    // What no open hold names is not there before it is used.
    expect(await operator.hget(quotaKey(limits.tenantId), 'counters')).toBe(String(KEYS + 1));
    if (hold) await money.store.release(limits.tenantId, [hold.holdId]);
    for (const [at, other] of others.entries()) {
      const outcome = outcomes[at + 1];
      if (outcome?.admitted) await money.store.release(other.tenantId, [outcome.hold.holdId]);
    }
    expect(await violated()).toEqual([]);
  });

  it('counts what was committed in a counter that no open hold names, and what it counts from there on', async () => {
    const idle = ofKey(limits, newId(), nanoUsd(100n));
    const spent = await openCharge(money, idle, 100n);
    await spent.settle(outputOf(60));
    expect(await drained()).toBe(true);
    await epochs().raiseBeyond(epochs().current, 'a test');
    expect(await reserve(money, idle, 41n)).toMatchObject({ refusal: { code: 'QUOTA_BUDGET_EXCEEDED' } });
    const rest = await openCharge(money, idle, 40n);
    expect(await reserve(money, idle, 1n)).toMatchObject({ refusal: { code: 'QUOTA_BUDGET_EXCEEDED' } });
    await rest.settle(outputOf(39));
    expect(await drained()).toBe(true);
    expect(await usedIn(operator, limits.tenantId, `key:${idle.key?.apiKeyId ?? ''}:budget`)).toBe('99');
    expect(await violated()).toEqual([]);
  });

  it('is rebuilt on command while others reserve, and costs no epoch', async () => {
    const before = epochs().current;
    const [other, wrong] = [await createTenant(money, nanoUsd(1_000n)), keys[7]?.key?.apiKeyId ?? ''];
    await operator.hset(quotaKey(limits.tenantId), { posted: '7', held: '1', [`c:key:${wrong}:budget`]: '5:6:77' });
    const [report, outcome] = await Promise.all([
      money.module.get(TenantRebuild).rebuild(limits.tenantId),
      reserve(money, other, 1n),
    ]);
    expect(report).toMatchObject({ state: 'rebuilt', after: { posted: 999_901n, held: BigInt(10 * HOLDS) } });
    expect(await usedIn(operator, limits.tenantId, `key:${wrong}:budget`)).toBe('100');
    if (outcome.admitted) await money.store.release(other.tenantId, [outcome.hold.holdId]);
    expect(epochs().current).toBe(before);
    expect(await violated()).toEqual([]);
  });

  it('ends each of its charges once, whatever epoch they began in', async () => {
    await Promise.all(charges.map((charge) => charge.settle(outputOf(3))));
    expect(await drained()).toBe(true);
    expect(await known()).toEqual({ held: '0', open: '0', entries: '0' });
    const left = 1_000_000 - 99 - 3 * HOLDS;
    expect(await operator.hget(quotaKey(limits.tenantId), 'posted')).toBe(String(left));
    expect(await violated()).toEqual([]);
  });
});

function ofKey(limits: CallerLimits, apiKeyId: string, budget: NanoUsd): CallerLimits {
  return { ...limits, key: { apiKeyId, budget, usd5h: null, usd1d: null, usd7d: null } };
}
