import type { HouseCost, Settlement } from '../../src/billing/charge';
import { Checkpoints } from '../../src/billing/settlement/checkpoints';
import type { OpenCharge } from '../../src/billing/settlement/open-charge';
import { newId } from '../../src/kernel/ids';
import { nanoUsd } from '../../src/kernel/money';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { createTenant, deliveredOf, type MoneyProcess, openCharge, outputOf } from '../support/money-harness';
import {
  DEAD_AFTER_MS,
  expectInvariants,
  idOf,
  ManualClock,
  openSweepStage,
  sweeperOf,
  type SweepStage,
} from './hold-sweeper-stage';

const FAILED: HouseCost = { upstreamId: newId(), amount: nanoUsd(7n), isServed: false };

describe('what a call cost the house, of a process that was declared dead', () => {
  let stage: SweepStage;
  let dead: MoneyProcess;
  let living: MoneyProcess;
  let limits: CallerLimits;
  const clock = new ManualClock();

  beforeAll(async () => {
    stage = await openSweepStage();
    living = await stage.start();
  });
  beforeEach(async () => {
    dead = await stage.start();
    limits = await createTenant(dead, nanoUsd(1_000n));
  });
  afterEach(async () => {
    await expectInvariants(living);
  });
  afterAll(() => stage.close());

  async function sweep(): Promise<void> {
    await living.pool.query(`update gateway_process set status = 'dead' where id = $1`, [idOf(dead)]);
    clock.pass(DEAD_AFTER_MS);
    await sweeperOf(living, clock).sweep();
  }

  /** A stream that had delivered 120 tokens at a cost of 40 when its process was last heard of. */
  async function streaming(houseCosts: readonly HouseCost[]): Promise<OpenCharge> {
    const charge = await openCharge(dead, limits, 300n);
    await charge.durable();
    charge.checkpointFrom(() => ({ ...deliveredOf(120), upstreamCost: nanoUsd(40n), houseCosts }));
    await dead.module.get(Checkpoints).write();
    return charge;
  }

  function settlement(tokens: number, cost: bigint): Settlement {
    return { ...outputOf(tokens), upstreamCost: nanoUsd(cost), houseCosts: [FAILED] };
  }

  /** `type status amount cost`, one a row of the tenant's calls; and what the house paid for them. */
  async function booked(): Promise<{ readonly rows: readonly string[]; readonly house: readonly string[] }> {
    const { rows } = await living.pool.query<{ what: string }>(
      `select type || ' ' || status || ' ' || amount_nano_usd || ' ' || upstream_cost_nano_usd as what
         from billing_transaction where tenant_id = $1 and type <> 'adjustment' order by type`,
      [limits.tenantId],
    );
    const house = await living.pool.query<{ what: string }>(
      `select b.type || ' ' || t.amount_nano_usd || ' ' || t.reason_code as what
         from billing_transaction b join ledger_transfer t on t.transaction_id = b.id and t.kind = 'upstream_cost'
        where b.tenant_id = $1 order by 1`,
      [limits.tenantId],
    );
    return { rows: rows.map(({ what }) => what), house: house.rows.map(({ what }) => what) };
  }

  it('is what its last checkpoint says, of the attempt that served and of those that had failed', async () => {
    await streaming([FAILED]);
    await sweep();
    await sweep();
    expect(await booked()).toEqual({ rows: ['charge COMMITTED 120 40'], house: ['charge 7 FAILED_ATTEMPT'] });
  });

  it('is the whole cost once the process wakes up, and failed attempts once', async () => {
    const charge = await streaming([FAILED]);
    await sweep();
    await charge.settle(settlement(150, 50n));
    expect(await booked()).toEqual({
      rows: ['charge COMMITTED 120 40', 'correction COMMITTED 150 10', 'refund COMMITTED 120 0'],
      house: ['charge 7 FAILED_ATTEMPT'],
    });
  });

  it('is less than the checkpoint said where that had been too much', async () => {
    const charge = await streaming([]);
    await sweep();
    await charge.settle(settlement(100, 35n));
    expect(await booked()).toEqual({
      rows: ['charge COMMITTED 120 40', 'correction COMMITTED 100 -5', 'refund COMMITTED 120 0'],
      house: ['charge 7 FAILED_ATTEMPT'],
    });
  });

  it('of a charge that was voided comes with its late correction', async () => {
    const charge = await openCharge(dead, limits, 300n);
    await charge.durable();
    await sweep();
    await charge.settle(settlement(150, 50n));
    expect(await booked()).toEqual({
      rows: ['charge VOIDED 0 0', 'correction COMMITTED 150 50'],
      house: ['charge 7 FAILED_ATTEMPT'],
    });
  });

  it('is paid by the house where the process voids what the sweeper had voided', async () => {
    const charge = await openCharge(dead, limits, 300n);
    await charge.durable();
    await sweep();
    const free: HouseCost = { ...FAILED, amount: nanoUsd(20n), isServed: true };
    await charge.void({ reasonCode: 'BROKEN_STREAM', endReason: 'upstream_broke', houseCosts: [FAILED, free] });
    expect(await booked()).toEqual({
      rows: ['charge VOIDED 0 0'],
      house: ['charge 20 UNCHARGED_ANSWER', 'charge 7 FAILED_ATTEMPT'],
    });
  });
});
