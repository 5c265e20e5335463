import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import { nanoUsd } from '../../src/kernel/money';
import { holdsKey, quotaKey } from '../../src/quota/quota-keys';
import type { TenantLimits } from '../../src/quota/quota-store.port';
import type { HoldSweeper } from '../../src/sync/hold-sweeper';
import {
  createTenant,
  type MoneyProcess,
  openCharge,
  outputOf,
  reserve,
  startMoneyProcess,
} from '../support/money-harness';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { startTestRedis, type TestRedis } from '../support/test-redis';
import { DEAD_AFTER_MS, idOf, ManualClock, statusOfProcess, STILL, sweeperOf } from './hold-sweeper-stage';

describe('the hold sweeper, where a projection is damaged', () => {
  let database: TestDatabase;
  let redis: TestRedis;
  let dead: MoneyProcess;
  let living: MoneyProcess;
  let sweeper: HoldSweeper;
  const clock = new ManualClock();

  beforeEach(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
    const urls = { databaseUrl: database.url, redisUrl: redis.url, ...STILL };
    dead = await startMoneyProcess(urls);
    living = await startMoneyProcess(urls);
    sweeper = sweeperOf(living, clock);
  });

  afterEach(async () => {
    jest.restoreAllMocks();
    await Promise.all([dead.close(), living.close()]);
    await redis.stop();
    await database.drop();
  });

  async function sweep(): Promise<void> {
    await living.pool.query(`update gateway_process set status = 'dead' where id = $1 and status = 'alive'`, [
      idOf(dead),
    ]);
    clock.pass(DEAD_AFTER_MS);
    await sweeper.sweep();
  }

  const statusOfDead = (): Promise<string | undefined> => statusOfProcess(living, idOf(dead));

  /** A hold whose charge has ended in the ledger, by a process that died before Redis heard of it. */
  async function untold(limits: TenantLimits, ending: 'COMMITTED' | 'VOIDED'): Promise<string> {
    const charge = await openCharge(dead, limits, 300n);
    await charge.durable();
    const queue = dead.module.get(ProjectionQueue);
    jest.spyOn(queue, 'settle').mockReturnValue(undefined);
    jest.spyOn(queue, 'release').mockReturnValue(undefined);
    if (ending === 'COMMITTED') await charge.settle(outputOf(10));
    else await charge.void({ reasonCode: 'UPSTREAM_ERROR', endReason: 'failed' });
    return charge.held.holdId;
  }

  describe.each(['COMMITTED', 'VOIDED'] as const)('a hold that is %s in the ledger', (ending) => {
    it('goes though the balance beside it is gone, which stays gone until a rebuild', async () => {
      const limits = await createTenant(dead, nanoUsd(1_000n));
      await untold(limits, ending);
      await living.redis.client.del(quotaKey(limits.tenantId));
      await sweep();
      const keys = [quotaKey(limits.tenantId), holdsKey(limits.tenantId)];
      expect(await living.redis.client.exists(...keys)).toBe(0);
      await sweep();
      await sweep();
      expect(await statusOfDead()).toBe('swept');
      const posted = ending === 'COMMITTED' ? 990n : 1_000n;
      expect((await reserve(living, limits, posted + 1n)).admitted).toBe(false);
      expect((await reserve(living, limits, posted)).admitted).toBe(true);
    });

    it.each(['held', 'day_used'])(
      'does not make the field %s anew, whose absence tells of the damage',
      async (field) => {
        const limits = await createTenant(dead, nanoUsd(1_000n));
        await untold(limits, ending);
        await living.redis.client.hdel(quotaKey(limits.tenantId), field);
        await sweep();
        expect(await living.redis.client.hlen(holdsKey(limits.tenantId))).toBe(0);
        expect(await living.redis.client.hexists(quotaKey(limits.tenantId), field)).toBe(0);
      },
    );
  });
});
