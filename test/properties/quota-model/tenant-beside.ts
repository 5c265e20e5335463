import { Charges } from '../../../src/billing/settlement/charges';
import type { Refusal } from '../../../src/kernel/errors';
import type { AdmittedHold, HoldRequest, ReserveOutcome } from '../../../src/quota/quota-store.port';
import { tenantBalance } from '../../../src/quota/tenant-balance';
import { windowAround } from './calendar';
import { Callers } from './callers';
import type { Admission, Answer, Ask } from './decide';
import { expectAnswer } from './expectations';
import { type Charge, QuotaModel } from './model';
import { comparePostgres, compareRedis } from './observed';
import type { Frozen } from './ledger-side';
import type { ModelProcess, QuotaSystem } from './system';
import type { Tally } from './tally';

type OpenCharge = Exclude<ReturnType<Charges['begin']>, Refusal>;

export interface RealCharge {
  readonly request: HoldRequest;
  readonly process: ModelProcess;
  hold: AdmittedHold;
  open: OpenCharge | undefined;
}

/** What a store has admitted, and what the model says of it. */
interface Kept {
  readonly ask: Ask;
  readonly request: HoldRequest;
  readonly hold: AdmittedHold;
  readonly answer: Admission;
  readonly frozen: readonly Frozen[];
}

/** One tenant on the real servers beside its model, the time that both go by, and their comparison. */
export class TenantBeside {
  readonly model: QuotaModel;
  readonly real = new Map<string, RealCharge>();
  private readonly processes: ModelProcess[] = [];
  private endedMs: number | undefined;

  protected constructor(
    readonly system: QuotaSystem,
    readonly callers: Callers,
    readonly tally: Tally,
    public process: ModelProcess,
  ) {
    this.model = new QuotaModel(system.kind, callers.scene.beginsAtMs);
    this.processes.push(process);
  }

  get tenantId(): string {
    return this.callers.tenantId;
  }

  /** Redis = model = Postgres. */
  async compareAll(): Promise<void> {
    await Promise.all([
      ...(this.system.kind === 'redis' ? [compareRedis(this.system.host.redis.client, this.tenantId, this.model)] : []),
      comparePostgres(this.system.host.pool, this.tenantId, this.model),
    ]);
    this.model.checkItself();
  }

  /** In which order charges and credits that came at once were posted decides how many changes they were. */
  async adoptVersion(): Promise<void> {
    const { version } = await tenantBalance(this.system.host.pool, this.tenantId);
    this.model.adoptVersion(BigInt(version));
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

  /** Compares with what was predicted and, where it was admitted, takes it over. */
  /** @param fromMs when it was asked, at the earliest */
  compare(
    ask: Ask,
    request: HoldRequest,
    predicted: Answer,
    outcome: ReserveOutcome,
    fromMs = this.model.nowMs,
  ): Charge | undefined {
    const frozen = expectAnswer(predicted, outcome, fromMs, this.system.clock.nowMs());
    this.tally.count(predicted.admitted ? `paid by ${predicted.funding}` : predicted.code);
    if (!predicted.admitted || !outcome.admitted || !frozen) return undefined;
    return this.keep({ ask, request, hold: outcome.hold, answer: predicted, frozen });
  }

  /** The model has the hold from now on, in the windows that the store has counted it in. */
  keep({ ask, request, hold, answer, frozen }: Kept): Charge {
    const startOf = (unit: 'day' | 'month'): number =>
      frozen.find(({ counter }) => counter === unit)?.startMs ??
      windowAround(this.model.nowMs, ask.caller.zone, unit).startMs;
    const charge: Charge = {
      id: request.holdId,
      ask,
      processId: this.process.id,
      generation: this.model.generation,
      frozen,
      funding: answer.funding,
      day: startOf('day'),
      month: startOf('month'),
      phase: 'unbegun',
    };
    expect([hold.dayWindow.startMs, hold.monthWindow.startMs]).toEqual([charge.day, charge.month]);
    this.real.set(charge.id, { request, process: this.process, hold, open: undefined });
    this.model.admit(charge, answer);
    return charge;
  }

  async told({ process }: Pick<RealCharge, 'process'>): Promise<void> {
    await process.toldAll();
  }

  /** Of a run that is not gone on with: nothing of it stays open. */
  async giveUp(): Promise<void> {
    for (const { id } of this.processes) await this.system.sweep(id);
    await this.close();
  }

  protected async close(): Promise<void> {
    await this.system.setStatus(
      this.processes.map(({ id }) => id),
      'swept',
    );
  }

  /** Another process takes its place. */
  protected async replace(): Promise<void> {
    this.process = await this.system.startProcess();
    this.processes.push(this.process);
  }
}
