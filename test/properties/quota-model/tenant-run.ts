import { randomUUID } from 'node:crypto';
import { Charges } from '../../../src/billing/settlement/charges';
import { type Refusal, RefusalError } from '../../../src/kernel/errors';
import { nanoUsd } from '../../../src/kernel/money';
import type { AdmittedHold, HoldRequest, ReserveOutcome } from '../../../src/quota/quota-store.port';
import { createTenant, outputOf } from '../../support/money-harness';
import { windowAround } from './calendar';
import type { Answer, Ask } from './decide';
import { expectAdmission, expectAnswer, windowsOf } from './expectations';
import { type Charge, QuotaModel } from './model';
import { comparePostgres, compareRedis } from './observed';
import { Callers, OUTPUT_ALONE } from './callers';
import type { Scenario } from './scenario';
import type { ModelProcess, QuotaSystem } from './system';
import type { Tally } from './tally';

type OpenCharge = Exclude<ReturnType<Charges['begin']>, Refusal>;

interface RealCharge {
  readonly request: HoldRequest;
  readonly process: ModelProcess;
  hold: AdmittedHold;
  open: OpenCharge | undefined;
}

/** One tenant on the real servers beside its model: what is done to one is done to the other, and compared. */
export class TenantRun {
  readonly model: QuotaModel;
  readonly real = new Map<string, RealCharge>();
  /** Processes that have died and were not yet swept. */
  readonly crashed: ModelProcess[] = [];
  private readonly processes: ModelProcess[] = [];
  private endedMs: number | undefined;
  /** Of adjustments that were taken, so that they can be sent again. */
  private readonly adjustments: {
    readonly key: string;
    readonly account: 'wallet' | 'promo';
    readonly amount: bigint;
  }[] = [];

  private constructor(
    readonly system: QuotaSystem,
    readonly callers: Callers,
    readonly tally: Tally,
    public process: ModelProcess,
  ) {
    this.model = new QuotaModel(system.kind, callers.scene.beginsAtMs);
    this.processes.push(process);
  }

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

  get tenantId(): string {
    return this.callers.tenantId;
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
    const again = this.compare(charge.ask, request, predicted, outcome, false);
    if (!again) return;
    await this.process.store.release(this.tenantId, [charge.id]);
    this.model.projection?.end(charge.id);
  }

  /** Its row is written; a hold of an epoch that is over is reserved once more, by the charge itself. */
  async begin(charge: Charge): Promise<void> {
    this.moveOn();
    const real = this.realOf(charge);
    const begun = this.model.begin(charge);
    const predicted = begun === 'readmit' ? this.model.ask(charge.ask) : undefined;
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
    const predicted = begun === 'readmit' ? this.model.ask(charge.ask) : undefined;
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
    const { request, hold, process } = this.realOf(charge);
    const amount = (this.model.ledger.rows.get(charge.id)?.hold ?? 0n) + BigInt(by);
    const { limits, service, platform } = request;
    const extension = { holdId: charge.id, limits, epoch: hold.epoch, amount: nanoUsd(amount), service, platform };
    const predicted = this.model.extend(charge, amount);
    const outcome = await this.at(() => process.store.extend(extension));
    if (predicted === true) {
      expect(outcome).toEqual({ extended: true });
      this.tally.count('extended');
      if (this.system.kind === 'redis') await this.makeDurable(charge, amount, hold.epoch);
    } else if (predicted === 'gone') expect(outcome).toEqual({ extended: false, refusal: 'gone' });
    else {
      this.tally.count('extension refused');
      const { code, limit, used } = predicted;
      const quota = limit === undefined ? {} : { quota: { limit, used } };
      expect(outcome).toMatchObject({ extended: false, refusal: { code, ...quota } });
    }
  }

  private async makeDurable(charge: Charge, amount: bigint, epoch: bigint): Promise<void> {
    const row = { id: charge.id, tenant_id: this.tenantId, hold_nano_usd: amount.toString(), epoch: epoch.toString() };
    const { rows } = await this.system.host.pool.query<{ hold_nano_usd: string }>(`select * from billing_extend($1)`, [
      JSON.stringify([row]),
    ]);
    expect(rows.map(({ hold_nano_usd }) => BigInt(hold_nano_usd))).toEqual([
      this.model.ledger.rows.get(charge.id)?.hold,
    ]);
  }

  async adjust(account: 'wallet' | 'promo', amount: bigint, isTold = true, key: string = randomUUID()): Promise<void> {
    const isRepeat = this.adjustments.some((one) => one.key === key);
    const isTaken = isRepeat ? true : this.model.adjust(account, amount, isTold);
    const posting = this.process.ledger.adjust({
      tenantId: this.tenantId,
      account,
      amount: nanoUsd(amount),
      reasonCode: 'MODEL',
      description: 'model',
      idempotencyKey: key,
      actor: 'model',
    });
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

  async told({ process }: Pick<RealCharge, 'process'>): Promise<void> {
    await process.toldAll();
  }

  /** Redis = model = Postgres. */
  async compareAll(): Promise<void> {
    await Promise.all([
      ...(this.system.kind === 'redis' ? [compareRedis(this.system.host.redis.client, this.tenantId, this.model)] : []),
      comparePostgres(this.system.host.pool, this.tenantId, this.model),
    ]);
    this.model.checkItself();
  }

  /** Everything that is open ends: what living processes have by their calls, what dead ones left by the sweeper. */
  async end(): Promise<void> {
    for (const process of this.crashed.splice(0)) await this.sweep(process);
    for (const charge of this.model.charge(['unbegun'])) await this.release(charge);
    for (const charge of this.model.charge(['open'])) await this.void(charge);
    await this.compareAll();
    expect(this.model.ledger.open()).toEqual([]);
    expect(this.model.projection?.held ?? 0n).toBe(0n);
    await this.system.setStatus(this.processIds, 'swept');
    await this.close();
  }

  /** Of a run that is not gone on with: nothing of it stays open. */
  async giveUp(): Promise<void> {
    for (const processId of this.processIds) await this.system.sweep(processId);
    await this.system.setStatus(this.processIds, 'swept');
    await this.close();
  }

  /** What was done last took its time. */
  moveOn(): void {
    if (this.endedMs !== undefined) this.model.moveTo(this.endedMs);
    this.endedMs = undefined;
  }

  realOf({ id }: Charge): RealCharge {
    const real = this.real.get(id);
    if (!real) throw new Error(`there is no hold ${id}`);
    return real;
  }

  async at<T>(work: () => Promise<T>): Promise<T> {
    const { model } = this;
    const edges = model.windows().flatMap(({ startMs, endMs }) => [startMs, endMs]);
    const done = await this.system.at(model.nowMs, edges, work);
    this.endedMs = this.system.clock.nowMs();
    return done;
  }

  /** Compares with what was predicted and, where it was admitted, takes it over: `isKept` is false where it is not kept. */
  compare(
    ask: Ask,
    request: HoldRequest,
    predicted: Answer,
    outcome: ReserveOutcome,
    isKept = true,
  ): Charge | undefined {
    const frozen = expectAnswer(predicted, outcome, this.model.nowMs, this.system.clock.nowMs());
    this.tally.count(predicted.admitted ? `paid by ${predicted.funding}` : predicted.code);
    if (!predicted.admitted || !outcome.admitted || !frozen) return undefined;
    const { hold } = outcome;
    const startOf = (unit: 'day' | 'month'): number =>
      frozen.find(({ counter }) => counter === unit)?.startMs ??
      windowAround(this.model.nowMs, ask.caller.zone, unit).startMs;
    const charge: Charge = {
      id: request.holdId,
      ask,
      processId: this.process.id,
      generation: this.model.generation,
      frozen,
      funding: predicted.funding,
      day: startOf('day'),
      month: startOf('month'),
      phase: 'unbegun',
    };
    expect([hold.dayWindow.startMs, hold.monthWindow.startMs]).toEqual([charge.day, charge.month]);
    if (isKept) {
      this.real.set(charge.id, { request, process: this.process, hold, open: undefined });
      this.model.admit(charge, predicted);
    } else {
      this.model.projection?.hold(charge.id, {
        processId: this.process.id,
        funding: predicted.funding,
        frozen,
        rolled: predicted.rolled,
        tokens: ask.tokens,
        amount: ask.amount,
      });
    }
    return charge;
  }

  private get processIds(): readonly string[] {
    return this.processes.map(({ id }) => id);
  }

  private async close(): Promise<void> {
    await Promise.all(this.processes.map((process) => process.close()));
  }

  private async replace(): Promise<void> {
    this.process = await this.system.startProcess();
    this.processes.push(this.process);
  }
}
