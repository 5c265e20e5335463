import { Redis } from 'ioredis';
import {
  createTenant,
  type MoneyProcess,
  openCharge,
  outputOf,
  startMoneyProcess,
} from '../../../test/support/money-harness';
import { createTestDatabase, type TestDatabase } from '../../../test/support/test-database';
import { startTestRedis, type TestRedis } from '../../../test/support/test-redis';
import { newId } from '../../kernel/ids';
import { nanoUsd } from '../../kernel/money';
import { EpochAuthority } from '../../quota/epoch-authority';
import { quotaKey } from '../../quota/quota-keys';
import type { CallerLimits } from '../../quota/scopes/caller-limits';
import { ProjectionQueue } from '../settlement/projection-queue';
import type { InvariantResult } from './invariant';
import { Invariants } from './invariants.service';

const PLENTY = nanoUsd(1_000_000n);
const FAILED = { reasonCode: 'TEST', endReason: 'failed' } as const;

describe('I8, that each counter is what its charges and open holds are', () => {
  let database: TestDatabase;
  let server: TestRedis;
  let redis: Redis;
  let money: MoneyProcess;

  // A database a test: what one has broken must not be found by the next.
  beforeEach(async () => {
    [database, server] = await Promise.all([createTestDatabase(), startTestRedis()]);
    redis = new Redis(server.url);
    money = await startMoneyProcess({
      databaseUrl: database.url,
      redisUrl: server.url,
      processBeatMs: 3_600_000,
      processDeadMs: 14_400_000,
    });
  });

  afterEach(async () => {
    redis.disconnect();
    await money.close();
    await server.stop();
    await database.drop();
  });

  async function verdict(id: InvariantResult['id'] = 'I8'): Promise<InvariantResult | undefined> {
    await money.module.get(ProjectionQueue).drain(2_000);
    const results = await money.module.get(Invariants).check();
    return results.find((result) => result.id === id);
  }

  /** A tenant whose key has a budget, with one charge of 40 and one open hold of 30. */
  async function used(overrides: Partial<CallerLimits> = {}): Promise<CallerLimits & { budget: string }> {
    const apiKeyId = newId();
    const key = { apiKeyId, budget: nanoUsd(1_000n), usd5h: null, usd1d: null, usd7d: null };
    const limits = await createTenant(money, PLENTY, { dailyQuota: 10, key, ...overrides });
    const ended = await openCharge(money, limits, 50n);
    await ended.settle(outputOf(40));
    const open = await openCharge(money, limits, 30n);
    expect(await open.durable()).toBeUndefined();
    return { ...limits, budget: `key:${apiKeyId}:budget` };
  }

  it('holds while charges are open, raised, ended and given back, and who pays them is the house', async () => {
    const limits = await used({ allowances: new Map([['chat', 1]]) });
    const raised = await openCharge(money, limits, 10n);
    expect(await raised.extend(nanoUsd(25n))).toBeUndefined();
    const failed = await openCharge(money, limits, 10n);
    await failed.void(FAILED);
    for (const id of ['I2', 'I4', 'I8'] as const) expect(await verdict(id)).toMatchObject({ verdict: 'holds' });
  });

  it('counts what a request quota found when it was first met', async () => {
    const unlimited = await createTenant(money, PLENTY);
    const before = await openCharge(money, unlimited, 10n);
    await before.durable();
    const limits = { ...unlimited, dailyQuota: 5 };
    await (await openCharge(money, limits, 10n)).settle(outputOf(1));
    await before.void(FAILED);
    expect(await verdict()).toMatchObject({ verdict: 'holds' });
    await money.pool.query(`update quota_counter set used = used + 1 where tenant_id = $1`, [limits.tenantId]);
    expect(await verdict()).toMatchObject({
      verdict: 'violated',
      examples: expect.arrayContaining([
        `counter day of tenant ${limits.tenantId} began with 2, which no charge explains`,
      ]) as unknown,
    });
  });

  it('is violated by a counter of the ledger that misses a part of a charge', async () => {
    const { tenantId, budget } = await used();
    await money.pool.query(
      `update quota_counter set used = used - 1, counted = counted - 1 where tenant_id = $1 and counter = $2`,
      [tenantId, budget],
    );
    expect(await verdict()).toMatchObject({
      verdict: 'violated',
      examples: expect.arrayContaining([
        `counter ${budget} of tenant ${tenantId} has 39 of the charges in its window from 0, they are 40`,
      ]) as unknown,
    });
  });

  it('is violated by a counter that stands behind the newest window of its charges', async () => {
    const { tenantId } = await used();
    await money.pool.query(
      `update quota_counter set window_start_ms = window_start_ms - 86400000, used = 0, counted = 0
        where tenant_id = $1 and counter = 'day'`,
      [tenantId],
    );
    expect((await verdict())?.examples).toEqual(
      expect.arrayContaining([expect.stringContaining(`charges of tenant ${tenantId} name a window of day`)]),
    );
  });

  it('is violated by a counter in Redis that is not what charges and open holds are', async () => {
    const { tenantId, budget } = await used();
    expect(await redis.hget(quotaKey(tenantId), `c:${budget}`)).toBe('0:0:70');
    await redis.hset(quotaKey(tenantId), `c:${budget}`, '0:0:69');
    expect(await verdict()).toMatchObject({
      verdict: 'violated',
      violations: 1,
      examples: [`tenant ${tenantId}: ${budget} has 69 in its window from 0, its charges and open holds 70`],
    });
    expect(await verdict('I2')).toMatchObject({ verdict: 'holds' });
  });

  it('says of Redis that nothing is projected while Postgres decides, and looks at the ledger alone', async () => {
    const { tenantId, budget } = await used();
    await money.module.get(EpochAuthority).switchToPostgres('test');
    await redis.hset(quotaKey(tenantId), `c:${budget}`, '0:0:69');
    const nothing = ['Postgres decides: nothing is projected'];
    expect(await verdict()).toMatchObject({ verdict: 'holds', examples: nothing });
    expect(await verdict('I2')).toMatchObject({ verdict: 'holds', checked: 0, examples: nothing });
  });
});
