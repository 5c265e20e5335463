import { Logger } from '@nestjs/common';
import { Invariants } from '../../src/billing/invariants/invariants.service';
import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import { CLOCK, type Clock } from '../../src/kernel/clock';
import { newId } from '../../src/kernel/ids';
import { nanoUsd } from '../../src/kernel/money';
import { EpochAuthority } from '../../src/quota/epoch-authority';
import { holdsKey, quotaKey, tenantsOfProcessKey } from '../../src/quota/quota-keys';
import { QuotaUnavailableError } from '../../src/quota/quota-store.port';
import { RedisAwayError } from '../../src/quota/redis/redis-away.error';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import type { HoldSweeper } from '../../src/sync/hold-sweeper';
import { eventually } from '../support/eventually';
import { adjust, createTenant, type MoneyProcess, openCharge, outputOf, reserve } from '../support/money-harness';
import {
  DEAD_AFTER_MS,
  expectInvariants,
  idOf,
  ManualClock,
  openSweepStage,
  statusOfCharge,
  statusOfProcess,
  sweeperOf,
  type SweepStage,
} from './hold-sweeper-stage';

const SWEPT_WITHIN_MS = 20_000;

describe('the hold sweeper, where a projection is damaged', () => {
  let stage: SweepStage;
  let dead: MoneyProcess;
  let living: MoneyProcess;
  let sweeper: HoldSweeper;
  const clock = new ManualClock();

  beforeEach(async () => {
    stage = await openSweepStage();
    dead = await stage.start();
    living = await stage.start();
    sweeper = sweeperOf(living, clock);
  });

  afterEach(async () => {
    jest.restoreAllMocks();
    await stage.close();
  });

  async function sweep(): Promise<void> {
    await living.pool.query(`update gateway_process set status = 'dead' where id = $1 and status = 'alive'`, [
      idOf(dead),
    ]);
    clock.pass(DEAD_AFTER_MS);
    await sweeper.sweep();
  }

  /** Rounds until it is so: one that meets a slow server is rightly followed by another. */
  async function sweepUntil(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
    const round = async (): Promise<true | undefined> => {
      await sweep();
      return (await isSo()) || undefined;
    };
    await eventually(what, round, SWEPT_WITHIN_MS);
  }

  const sweepUntilSwept = (): Promise<void> =>
    sweepUntil('the dead process is swept', async () => (await statusOfDead()) === 'swept');

  async function setStatusOfDead(status: 'alive' | 'dead'): Promise<void> {
    await living.pool.query(`update gateway_process set status = $2 where id = $1`, [idOf(dead), status]);
  }

  const statusOfDead = (): Promise<string | undefined> => statusOfProcess(living, idOf(dead));

  /** A hold whose charge has ended in the ledger, by a process that died before Redis heard of it. */
  async function untold(limits: CallerLimits, ending: 'COMMITTED' | 'VOIDED'): Promise<string> {
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
      const keys = [quotaKey(limits.tenantId), holdsKey(limits.tenantId)];
      await sweepUntil('the hold is gone', async () => (await living.redis.client.exists(...keys)) === 0);
      await sweepUntilSwept();
      const posted = ending === 'COMMITTED' ? 990n : 1_000n;
      expect((await reserve(living, limits, posted + 1n)).admitted).toBe(false);
      expect((await reserve(living, limits, posted)).admitted).toBe(true);
    });

    it.each(['held', 'c:day'])('does not make the field %s anew, whose absence tells of the damage', async (field) => {
      const limits = await createTenant(dead, nanoUsd(1_000n), { dailyQuota: 10 });
      await untold(limits, ending);
      await living.redis.client.hdel(quotaKey(limits.tenantId), field);
      await sweepUntil(
        'the hold is gone',
        async () => (await living.redis.client.hlen(holdsKey(limits.tenantId))) === 0,
      );
      expect(await living.redis.client.hexists(quotaKey(limits.tenantId), field)).toBe(0);
    });
  });

  describe('a tenant whose balance Redis cannot be told', () => {
    it('keeps neither the process unswept nor another tenant from hearing its balance', async () => {
      const [damaged, other] = [await createTenant(dead, nanoUsd(1_000n)), await createTenant(dead, nanoUsd(0n))];
      for (const limits of [damaged, other]) await reserve(living, limits, 1_001n);
      await living.redis.client.hset(quotaKey(damaged.tenantId), 'version', 'x');
      jest.spyOn(dead.module.get(ProjectionQueue), 'settle').mockReturnValue(undefined);
      await adjust(dead, other.tenantId, nanoUsd(1_000n));
      await sweepUntil('the other hears it', async () => (await reserve(living, other, 1_000n)).admitted);
      expect(await statusOfDead()).toBe('dead');
      await sweepUntilSwept();
    });

    it('is rebuilt by the ledger, and nobody else waits', async () => {
      const tenants = [await createTenant(dead, nanoUsd(1_000n)), await createTenant(dead, nanoUsd(1_000n))];
      for (const limits of tenants) await untold(limits, 'COMMITTED');
      const [damaged] = tenants;
      if (!damaged) throw new Error('no tenant');
      await living.redis.client.hset(quotaKey(damaged.tenantId), 'version', 'x');
      const keys = tenants.map(({ tenantId }) => holdsKey(tenantId));
      await sweepUntil('no hold is left', async () => (await living.redis.client.exists(...keys)) === 0);
      expect(await statusOfDead()).toBe('dead');
      await sweepUntilSwept();
      for (const limits of tenants) {
        expect((await reserve(living, limits, 991n)).admitted).toBe(false);
        expect((await reserve(living, limits, 990n)).admitted).toBe(true);
      }
    });

    it('is told in the next round where Redis only could not be reached: until then nobody is swept', async () => {
      const limits = await createTenant(dead, nanoUsd(0n));
      await reserve(living, limits, 1n);
      await sweep();
      const settle = jest.spyOn(living.store, 'settle').mockRejectedValue(new QuotaUnavailableError('Redis is away'));
      await sweepUntil('a round tells balances', () => settle.mock.calls.length > 0);
      expect(await statusOfDead()).toBe('dead');
      await sweep();
      expect(await statusOfDead()).toBe('dead');
      settle.mockRestore();
      await sweepUntilSwept();
    });
  });

  describe.each<[string, (tenantId: string) => Promise<unknown>]>([
    ['an entry that is none', (tenantId) => living.redis.client.hset(holdsKey(tenantId), newId(), 'x')],
    [
      'an amount that is none',
      (tenantId) => living.redis.client.hset(holdsKey(tenantId), newId(), 'x|wallet|1|p|1|1|'),
    ],
    [
      'holds of another type',
      (tenantId) => living.redis.client.multi().del(holdsKey(tenantId)).set(holdsKey(tenantId), 'x').exec(),
    ],
  ])('one tenant with %s', (_what, damage) => {
    it('keeps nobody else their holds, is served again by the ledger, and does not stay for ever', async () => {
      const tenants = await Promise.all(Array.from({ length: 4 }, () => createTenant(dead, nanoUsd(1_000n))));
      for (const limits of tenants) await untold(limits, 'COMMITTED');
      // A hold whose row never came: nothing but its entry tells of it.
      for (const limits of tenants) await reserve(dead, limits, 100n);
      // The first that the sweeper meets.
      const [first = ''] = await living.redis.client.smembers(tenantsOfProcessKey(idOf(dead)));
      await damage(first);
      const complained = jest.spyOn(Logger.prototype, 'error').mockReturnValue(undefined);
      const keys = tenants.map(({ tenantId }) => holdsKey(tenantId));
      await sweepUntil('no hold is left', async () => (await living.redis.client.exists(...keys)) === 0);
      expect(await statusOfDead()).toBe('dead');
      await sweepUntilSwept();
      for (const limits of tenants) {
        expect((await reserve(living, limits, 991n)).admitted).toBe(false);
        const charge = await openCharge(living, limits, 990n);
        await charge.void({ reasonCode: 'UPSTREAM_ERROR', endReason: 'failed' });
      }
      expect(await living.module.get(ProjectionQueue).drain(15_000)).toBe(true);
      await expectInvariants(living);
      expect(complained).not.toHaveBeenCalled();
    });

    it('waits for a later round where it was damaged again, and keeps nobody else their holds', async () => {
      const tenants = await Promise.all(Array.from({ length: 2 }, () => createTenant(dead, nanoUsd(1_000n))));
      for (const limits of tenants) await reserve(dead, limits, 100n);
      const [first = '', second = ''] = await living.redis.client.smembers(tenantsOfProcessKey(idOf(dead)));
      const monotonic = jest.spyOn(living.module.get<Clock>(CLOCK), 'monotonicMs');
      await damage(first);
      await sweep();
      for (const limits of tenants) await reserve(dead, limits, 100n);
      await damage(first);
      const complained = jest.spyOn(Logger.prototype, 'error').mockReturnValue(undefined);
      await sweep();
      await sweep();
      expect(await living.redis.client.exists(holdsKey(first), holdsKey(second))).toBe(1);
      expect(complained).toHaveBeenCalledTimes(1);
      expect(await statusOfDead()).toBe('dead');
      monotonic.mockImplementation(() => performance.now() + 10_000);
      await sweepUntilSwept();
      expect(await living.redis.client.exists(holdsKey(first))).toBe(0);
    });

    it('is what the proof names, which goes on with the others', async () => {
      const tenants = await Promise.all(Array.from({ length: 2 }, () => createTenant(living, nanoUsd(1_000n))));
      for (const limits of tenants) expect(await (await openCharge(living, limits, 100n)).durable()).toBeUndefined();
      const [{ tenantId }] = tenants as [CallerLimits, CallerLimits];
      await damage(tenantId);
      const results = await living.module.get(Invariants).check();
      expect(results.filter(({ verdict }) => verdict !== 'holds')).toEqual([
        expect.objectContaining({ id: 'I2', verdict: 'violated', checked: 2, violations: 1 }),
      ]);
      expect(results[1]?.examples.join()).toMatch(new RegExp(`^tenant ${tenantId}: .*cannot be read`));
    });
  });

  describe('a set of tenants that is of another type', () => {
    async function overwrite(process: MoneyProcess): Promise<void> {
      const key = tenantsOfProcessKey(idOf(process));
      await living.redis.client.multi().del(key).set(key, 'x').exec();
    }

    it('keeps no dead process unswept, nor a hold that has no row', async () => {
      const limits = await createTenant(dead, nanoUsd(1_000n));
      await reserve(dead, limits, 400n);
      await overwrite(dead);
      await sweepUntilSwept();
      expect(await reserve(living, limits, 1_000n)).toMatchObject({ admitted: true });
    });

    it('keeps a living process from nobody, and what it held is found should it die then', async () => {
      const [before, after] = [await createTenant(dead, nanoUsd(1_000n)), await createTenant(dead, nanoUsd(1_000n))];
      await reserve(dead, before, 400n);
      await overwrite(dead);
      expect(await reserve(dead, after, 400n)).toMatchObject({ admitted: true });
      await sweepUntilSwept();
      for (const limits of [before, after]) expect((await reserve(living, limits, 1_000n)).admitted).toBe(true);
    });

    it('is a failure of Redis where it is of another type again, at once', async () => {
      await overwrite(dead);
      await reserve(dead, await createTenant(dead, nanoUsd(1_000n)), 400n);
      await overwrite(dead);
      const epoch = dead.module.get(EpochAuthority).current;
      const again = reserve(dead, await createTenant(dead, nanoUsd(1_000n)), 400n);
      await expect(again).rejects.toThrow(RedisAwayError);
      expect(await dead.module.get(EpochAuthority).refresh()).toBe(epoch);
    });
  });

  it('names the tenant whose balance is of another type, too', async () => {
    const limits = await createTenant(living, nanoUsd(1_000n));
    expect(await (await openCharge(living, limits, 100n)).durable()).toBeUndefined();
    const key = quotaKey(limits.tenantId);
    await living.redis.client.multi().del(key).set(key, 'x').exec();
    const [, balance] = await living.module.get(Invariants).check();
    expect(balance).toMatchObject({ id: 'I2', verdict: 'violated', violations: 1 });
  });

  describe('a finding of a round that fails starts the quiet time again', () => {
    it.each<[string, () => unknown]>([
      [
        'where Redis fails in the middle',
        () => jest.spyOn(living.redis.client, 'smembers').mockRejectedValueOnce(new Error('Redis did not answer')),
      ],
      ['where Redis is away', () => jest.spyOn(living.redis, 'isReady', 'get').mockReturnValue(false)],
    ])('%s', async (_where, fail) => {
      const limits = await createTenant(dead, nanoUsd(1_000n));
      const third = await stage.start();
      const another = sweeperOf(third, clock);
      await sweep();
      await another.sweep();
      // As if it had been on its way since before the mark; its hold is gone, so that nothing but the row shows it.
      await setStatusOfDead('alive');
      const late = await openCharge(dead, limits, 300n);
      expect(await late.durable()).toBeUndefined();
      await setStatusOfDead('dead');
      await living.store.release(limits.tenantId, [late.held.holdId]);
      fail();
      await sweep();
      expect(await statusOfCharge(living, late.held.holdId)).toBe('VOIDED');
      jest.restoreAllMocks();
      await another.sweep();
      await sweeper.sweep();
      expect(await statusOfDead()).toBe('dead');
      await sweepUntilSwept();
    });
  });
});
