import { Client } from 'pg';
import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import { ChargeWriter } from '../../src/billing/writer/charge-writer';
import { nanoUsd } from '../../src/kernel/money';
import { holdsKey } from '../../src/quota/quota-keys';
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

/** How long the sweeper under test waits for an ending: longer than the writer needs to find that a row is locked. */
const PATIENCE_MS = 1_000;

describe('what dead processes owe', () => {
  let stage: SweepStage;
  let dead: MoneyProcess;
  let alsoDead: MoneyProcess;
  let living: MoneyProcess;
  let sweeper: HoldSweeper;
  const clock = new ManualClock();

  beforeEach(async () => {
    stage = await openSweepStage();
    dead = await stage.start();
    alsoDead = await stage.start();
    living = await stage.start();
    sweeper = sweeperOf(living, clock, PATIENCE_MS);
  });

  afterEach(async () => {
    jest.restoreAllMocks();
    await stage.close();
  });

  async function sweep(...processes: MoneyProcess[]): Promise<void> {
    await living.pool.query(`update gateway_process set status = 'dead' where id = any ($1) and status = 'alive'`, [
      processes.map(idOf),
    ]);
    clock.pass(DEAD_AFTER_MS);
    await sweeper.sweep();
  }

  async function lockWallet(tenantId: string): Promise<() => Promise<void>> {
    const locker = new Client({ connectionString: stage.database.url });
    await locker.connect();
    await locker.query('begin');
    await locker.query(`select 1 from ledger_account where tenant_id = $1 and name = 'wallet' for update`, [tenantId]);
    return async () => {
      await locker.query('rollback');
      await locker.end();
    };
  }

  const openHolds = ({ tenantId }: CallerLimits): Promise<number> => living.redis.client.hlen(holdsKey(tenantId));

  it('is ended for everybody but the tenant whose wallet is locked, whose turn comes when it is not', async () => {
    const [locked, other] = [await createTenant(dead, nanoUsd(1_000n)), await createTenant(dead, nanoUsd(1_000n))];
    const ofLocked = await openCharge(dead, locked, 300n);
    const ofOther = [await openCharge(dead, other, 300n), await openCharge(alsoDead, other, 300n)];
    await Promise.all([ofLocked, ...ofOther].map((charge) => charge.durable()));
    const withoutRow = await reserve(dead, locked, 100n);
    if (!withoutRow.admitted) throw new Error('refused');
    const unlock = await lockWallet(locked.tenantId);
    const write = jest.spyOn(living.module.get(ChargeWriter), 'write');
    try {
      for (let round = 0; round < 4; round += 1) await sweep(dead, alsoDead);
      const statuses = ofOther.map((charge) => statusOfCharge(living, charge.held.holdId));
      expect(await Promise.all(statuses)).toEqual(['VOIDED', 'VOIDED']);
      expect([await openHolds(other), await openHolds(locked)]).toEqual([0, 2]);
      expect([await statusOfProcess(living, idOf(alsoDead)), await statusOfProcess(living, idOf(dead))]).toEqual([
        'swept',
        'dead',
      ]);
      // However many rounds meet the lock, one ending waits for it.
      expect(write.mock.calls.filter(([row]) => row.id === ofLocked.held.holdId)).toHaveLength(1);
    } finally {
      await unlock();
    }
    await eventually('what waited is written', async () =>
      (await statusOfCharge(living, ofLocked.held.holdId)) === 'VOIDED' ? true : undefined,
    );
    await sweep();
    expect(await openHolds(locked)).toBe(0);
    await sweep();
    await sweep();
    expect(await statusOfProcess(living, idOf(dead))).toBe('swept');
    await expectInvariants(living);
  }, 60_000);

  describe('an adjustment or a refund that was committed when its process died, before Redis heard of it,', () => {
    const neverTold = (): unknown => jest.spyOn(dead.module.get(ProjectionQueue), 'tell').mockReturnValue(undefined);

    it('lets the tenant of a wallet that was empty call again', async () => {
      const limits = await createTenant(dead, nanoUsd(0n));
      expect((await reserve(living, limits, 100n)).admitted).toBe(false);
      neverTold();
      await adjust(dead, limits.tenantId, nanoUsd(1_000n));
      // Its beats went on, and on, while Redis did not take what it had to tell.
      await dead.pool.query(`update gateway_process set oldest_open_id = 'ffffffff-ffff-ffff-ffff-ffffffffffff'`);
      expect((await reserve(living, limits, 100n)).admitted).toBe(false);
      await sweep(dead);
      expect((await reserve(living, limits, 1_000n)).admitted).toBe(true);
    });

    it('admits nobody beyond a balance that was lowered', async () => {
      const limits = await createTenant(dead, nanoUsd(1_000n));
      const first = await reserve(living, limits, 100n);
      if (!first.admitted) throw new Error('refused');
      await living.store.release(limits.tenantId, [first.hold.holdId]);
      neverTold();
      await adjust(dead, limits.tenantId, nanoUsd(-900n));
      await sweep(dead);
      expect((await reserve(living, limits, 101n)).admitted).toBe(false);
      expect((await reserve(living, limits, 100n)).admitted).toBe(true);
    });

    it('gives a refund back', async () => {
      const limits = await createTenant(dead, nanoUsd(1_000n));
      const charge = await openCharge(dead, limits, 1_000n);
      await charge.settle(outputOf(1_000));
      expect(await dead.module.get(ProjectionQueue).drain(15_000)).toBe(true);
      neverTold();
      await dead.ledger.refund({
        tenantId: limits.tenantId,
        chargeId: charge.held.holdId,
        reasonCode: 'TEST',
        description: 'test',
      });
      await sweep(dead);
      await expectInvariants(living);
      expect((await reserve(living, limits, 1_000n)).admitted).toBe(true);
    });
  });
});
