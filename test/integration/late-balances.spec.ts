import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import { nanoUsd, ZERO_NANO_USD } from '../../src/kernel/money';
import { adjust, createTenant, type MoneyProcess, reserve, startMoneyProcess } from '../support/money-harness';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { startTestRedis, type TestRedis } from '../support/test-redis';

describe('a balance that reaches Redis after a newer one', () => {
  let database: TestDatabase;
  let redis: TestRedis;
  let money: MoneyProcess;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
    money = await startMoneyProcess({ databaseUrl: database.url, redisUrl: redis.url, processBeatMs: 3_600_000 });
  });

  afterAll(async () => {
    await money.close();
    await redis.stop();
    await database.drop();
  });

  const told = (): Promise<boolean> => money.module.get(ProjectionQueue).drain(15_000);

  it('gives nobody the money of before a debit', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    await reserve(money, limits, 0n);
    await adjust(money, limits.tenantId, nanoUsd(-900n));
    await told();
    await money.store.settle(limits.tenantId, [], { posted: nanoUsd(1_000n), version: 1n });
    expect(await reserve(money, limits, 101n)).toMatchObject({ refusal: { code: 'QUOTA_BALANCE_EXCEEDED' } });
    expect(await reserve(money, limits, 100n)).toMatchObject({ admitted: true });
  });

  it('takes nobody’s credit away', async () => {
    const limits = await createTenant(money, nanoUsd(10n));
    await reserve(money, limits, 0n);
    await adjust(money, limits.tenantId, nanoUsd(990n));
    await told();
    await money.store.settle(limits.tenantId, [], { posted: nanoUsd(10n), version: 1n });
    // Twice is late, too.
    await money.store.settle(limits.tenantId, [], { posted: ZERO_NANO_USD, version: 2n });
    expect(await reserve(money, limits, 1_000n)).toMatchObject({ admitted: true });
  });
});
