import { randomUUID } from 'node:crypto';
import type { Adjustment } from '../../../src/billing/ledger/ledger.service';
import { RefusalError } from '../../../src/kernel/errors';
import { nanoUsd } from '../../../src/kernel/money';
import { createTenant, outputOf } from '../../support/money-harness';
import { Callers, OUTPUT_ALONE } from './callers';
import type { Answer, Ask } from './decide';
import { expectAdmission, expectAnswer, windowsOf } from './expectations';
import type { Charge } from './model';
import type { Scenario } from './scenario';
import type { ModelProcess, QuotaSystem } from './system';
import type { Tally } from './tally';
import { TenantBeside } from './tenant-beside';

/** What can be done to the tenant: to the real one and to its model, and compared. */
export class TenantRun extends TenantBeside {
  /** Processes that have died and were not yet swept. */
  readonly crashed: ModelProcess[] = [];
  /** Of adjustments that were taken, so that they can be sent again. */
  private readonly adjustments: {
    readonly key: string;
    readonly account: 'wallet' | 'promo';
    readonly amount: bigint;
  }[] = [];

  static async begin(system: QuotaSystem, scene: Scenario, tally: Tally): Promise<TenantRun> {
    const { tenantId } = await createTenant(system.host, nanoUsd(0n), {
      timezone: scene.zone,
      creditLimit: nanoUsd(BigInt(scene.creditLimit)),
    });
    const run = new TenantRun(system, new Callers(tenantId, scene), tally, await system.startProcess());
    if (scene.balance > 0) await run.adjust('wallet', BigInt(scene.balance));
    if (scene.promo > 0) await run.adjust('promo', BigInt(scene.promo));
    return run;
  }

  /** Reserves a hold of its own; undefined where it is refused, as predicted. */
  async reserve(ask: Ask): Promise<Charge | undefined> {
    const request = this.callers.requestOf(ask);
    const predicted = this.model.ask(ask);
    const outcome = await this.at(() => this.process.store.reserve(request));
    return this.compare(ask, request, predicted, outcome);
  }

  async quote(ask: Ask): Promise<void> {
    const predicted = this.model.ask(ask);
    const outcome = await this.at(() => this.process.store.quote(this.callers.requestOf(ask)));
    expectAnswer(predicted, outcome, this.model.nowMs, this.system.clock.nowMs());
  }

  /** A reserve that is sent once more; of a hold that is gone it is a new one, which is then given back. */
  async resend(charge: Charge): Promise<void> {
    const { request } = this.realOf(charge);
    const standing = this.model.standing(charge);
    if (standing) {
      const outcome = await this.process.store.reserve(request);
      expect(outcome).toMatchObject({ admitted: true, hold: { funding: standing.funding } });
      if (outcome.admitted) expect(windowsOf(outcome.hold)).toEqual(standing.frozen);
      return;
    }
    const predicted = this.model.ask(charge.ask);
    const isRemembered = this.system.kind === 'postgres';
    if (isRemembered && (predicted.admitted || predicted.code !== 'SUBSCRIPTION_INVALID')) {
      await expect(this.process.store.reserve(request)).rejects.toThrow('ended');
      return;
    }
    const outcome = await this.at(() => this.process.store.reserve(request));
    const before = this.realOf(charge);
    if (!this.compare(charge.ask, request, predicted, outcome)) return;
    await this.process.store.release(this.tenantId, [charge.id]);
    this.model.forget(charge);
    this.real.set(charge.id, before);
  }

  /** Its row is written; a hold of an epoch that is over is reserved once more, by the charge itself. */
  async begin(charge: Charge): Promise<void> {
    this.moveOn();
    const real = this.realOf(charge);
    const begun = this.model.begin(charge);
    const predicted = begun === 'readmit' ? this.model.askAgain(charge.ask) : undefined;
    const refusal = await this.at(() => {
      const open = real.process.charges.begin(real.hold, real.request, OUTPUT_ALONE);
      if ('code' in open) throw new Error(`the charge could not begin: ${open.code}`);
      real.open = open;
      return open.durable();
    });
    if (begun === 'stands') expect(refusal).toBeUndefined();
    else if (predicted === undefined) expect(refusal).toMatchObject({ code: 'BILLING_SERVICE_ERROR' });
    else this.readmitted(charge, predicted, refusal);
    if (refusal) {
      await real.open?.void({ reasonCode: 'NOT_BEGUN', endReason: 'failed' });
      await this.told(real);
      this.model.abandon(charge);
    }
  }

  private readmitted(charge: Charge, predicted: Answer, refusal: unknown): void {
    if (!predicted.admitted) {
      expect(refusal).toMatchObject({ code: predicted.code });
      this.tally.count(predicted.code);
      return;
    }
    expect(refusal).toBeUndefined();
    const real = this.realOf(charge);
    const hold = real.open?.held;
    if (!hold) throw new Error('the charge has no hold');
    real.hold = hold;
    charge.frozen = expectAdmission(predicted, hold, this.model.nowMs, this.system.clock.nowMs());
    charge.funding = predicted.funding;
    charge.day = hold.dayWindow.startMs;
    charge.month = hold.monthWindow.startMs;
    this.model.admit(charge, predicted);
    this.model.readmitted(charge);
  }

  /** A call that ends before its row has left: one row instead of two. */
  async beginAndSettle(charge: Charge, percent: number, input: number): Promise<void> {
    const real = this.realOf(charge);
    const begun = this.model.begin(charge);
    const predicted = begun === 'readmit' ? this.model.askAgain(charge.ask) : undefined;
    const output = Math.ceil((Number(charge.ask.amount) * percent) / 100);
    const settlement = { ...outputOf(output), tokens: { ...outputOf(output).tokens, inputUncached: input } };
    const settled = await this.at(() => {
      const open = real.process.charges.begin(real.hold, real.request, OUTPUT_ALONE);
      if ('code' in open) throw new Error(`the charge could not begin: ${open.code}`);
      real.open = open;
      return open.settle(settlement);
    });
    await this.told(real);
    if (predicted) this.readmitted(charge, predicted, 'code' in settled ? settled : undefined);
    if ('code' in settled) this.model.abandon(charge);
    else {
      expect(settled).toMatchObject({ amount: BigInt(output) });
      this.model.settle(charge, BigInt(output), output + input);
    }
  }

  /** `isTold` is false where the process dies between the commit and telling the projection. */
  async settle(charge: Charge, output: number, input: number, isTold = true): Promise<void> {
    const real = this.realOf(charge);
    const settlement = outputOf(output);
    const settled = await real.open?.settle({ ...settlement, tokens: { ...settlement.tokens, inputUncached: input } });
    expect(settled).toMatchObject({ amount: BigInt(output) });
    this.model.settle(charge, BigInt(output), output + input, isTold);
    await this.told(real);
  }

  async void(charge: Charge): Promise<void> {
    const real = this.realOf(charge);
    await real.open?.void({ reasonCode: 'UPSTREAM_ERROR', endReason: 'failed' });
    this.model.void(charge);
    await this.told(real);
  }

  /** A call that ended before its charge began. */
  async release(charge: Charge): Promise<void> {
    await this.realOf(charge).process.store.release(this.tenantId, [charge.id]);
    this.model.release(charge);
  }

  async extend(charge: Charge, by: number): Promise<void> {
    const { open } = this.realOf(charge);
    if (!open) throw new Error('the charge has not begun');
    const amount = open.held.amount + BigInt(by);
    const predicted = by === 0 || this.model.raise(charge, amount);
    const refusal = await this.at(() => open.extend(nanoUsd(amount)));
    this.tally.count(predicted === true ? 'extended' : 'extension refused');
    if (predicted === true) {
      expect(refusal).toBeUndefined();
      return;
    }
    const { code, limit, used } = predicted;
    expect(refusal).toMatchObject({ code, ...(limit === undefined ? {} : { quota: { limit, used } }) });
  }

  async flush(): Promise<void> {
    await this.system.host.redis.client.flushall();
    this.model.flush();
  }

  /** Among other things that happen to the tenant. */
  async creditAmong(amount: bigint): Promise<void> {
    await this.process.ledger.adjust(adjustmentOf(this.tenantId, 'wallet', amount, randomUUID()));
    this.model.adjust('wallet', amount);
    await this.process.toldAll();
  }

  async adjust(account: 'wallet' | 'promo', amount: bigint, isTold = true, key: string = randomUUID()): Promise<void> {
    const isRepeat = this.adjustments.some((one) => one.key === key);
    const isTaken = isRepeat ? true : this.model.adjust(account, amount, isTold);
    const posting = this.process.ledger.adjust(adjustmentOf(this.tenantId, account, amount, key));
    if (isTaken) {
      expect(await posting).toMatchObject({ isRepeat, posted: this.model.ledger.posted });
      if (isRepeat) this.model.tell(this.model.ledger);
      else this.adjustments.push({ key, account, amount });
    } else await expect(posting).rejects.toThrow(RefusalError);
    await this.process.toldAll();
  }

  async repeatAdjustment(pick: number): Promise<void> {
    const repeated = this.adjustments[pick % this.adjustments.length];
    if (repeated) await this.adjust(repeated.account, repeated.amount, true, repeated.key);
  }

  async refund(id: string): Promise<void> {
    const row = this.model.ledger.rows.get(id);
    if (!row) throw new Error('there is no such row');
    await this.process.ledger.refund({
      tenantId: this.tenantId,
      chargeId: id,
      reasonCode: 'MODEL',
      description: 'model',
    });
    this.model.refund(row);
    await this.process.toldAll();
  }

  /** The process is gone with everything it has not told; another one takes its place. */
  async crash(): Promise<void> {
    this.process.sever();
    this.crashed.push(this.process);
    for (const charge of this.model.charge(['unbegun', 'open'])) {
      if (charge.processId === this.process.id) charge.phase = 'given_up';
    }
    await this.replace();
  }

  /** The process is taken for dead though it lives, and may still end its calls. */
  async expire(): Promise<void> {
    const paused = this.process;
    await this.replace();
    await this.sweep(paused);
  }

  async sweep(process: ModelProcess): Promise<void> {
    await this.system.sweep(process.id);
    this.model.sweep(process.id);
  }

  /** Everything that is open ends: what living processes have by their calls, what dead ones left by the sweeper. */
  async end(): Promise<void> {
    for (const process of this.crashed.splice(0)) await this.sweep(process);
    for (const charge of this.model.charge(['unbegun'])) await this.release(charge);
    for (const charge of this.model.charge(['open'])) await this.void(charge);
    await this.compareAll();
    expect(this.model.ledger.open()).toEqual([]);
    expect(this.model.projection?.held ?? 0n).toBe(0n);
    await this.close();
  }
}

function adjustmentOf(
  tenantId: string,
  account: 'wallet' | 'promo',
  amount: bigint,
  idempotencyKey: string,
): Adjustment {
  const why = { reasonCode: 'MODEL', description: 'model', actor: 'model' };
  return { tenantId, account, amount: nanoUsd(amount), idempotencyKey, ...why };
}
