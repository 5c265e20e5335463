import { refuse, type Refusal } from '../../kernel/errors';
import type { NanoUsd } from '../../kernel/money';
import type { AdmittedHold, HoldRequest } from '../../quota/quota-store.port';
import type { CallerLimits } from '../../quota/scopes/caller-limits';
import type { Delivered, FrozenCharge, SettledCharge, Settlement, VoidReason } from '../charge';
import { type EndFields, settleFields, unchargedFields, voidFields } from '../writer/charge-rows';
import type { Ending, EndResult, PendingAdmission } from '../writer/charge-writer';
import { checkpointOf } from '../writer/checkpoint';
import type { WhileOpen } from './open-holds';

/** What an open charge needs of the process it is open in. */
export interface ChargeHouse {
  /** How long a caller waits for a row. */
  readonly waitMs: number;
  end(charge: OpenCharge, admission: PendingAdmission, ending: Ending): Promise<EndResult>;
  readmit(charge: OpenCharge): Promise<Refusal | PendingAdmission>;
  /** Of a charge whose row stands: the hold as it is once it is durably raised. */
  raise(charge: OpenCharge, amount: NanoUsd, whileOpen: WhileOpen): Promise<AdmittedHold | Refusal>;
  refundUnanswered(charge: OpenCharge): Promise<void>;
  count(fields: EndFields, isStream: boolean): void;
  close(charge: OpenCharge): void;
  releaseNow(hold: AdmittedHold): Promise<void>;
}

/** One admitted hold until its charge has ended. */
export class OpenCharge {
  private ending: Ending | undefined;
  /** How it ended can no longer be changed by its caller. */
  isDecided = false;
  private isWithdrawn = false;
  private wasReadmitted = false;
  private isClosed = false;
  private hasEnded = false;
  private awaitEnd: ((hasEnded: boolean) => void)[] | undefined;
  private hasRow = false;
  private readonly durability: Promise<Refusal | undefined>;
  private deliveredSoFar: () => Delivered | undefined = () => undefined;
  private lastCheckpoint: string | undefined;
  /** Extensions take their turn. */
  private lastExtension: Promise<unknown> = Promise.resolve();
  /** What quota is asked for an extension just now. */
  private asking: Promise<unknown> | undefined;

  constructor(
    private readonly charges: ChargeHouse,
    public frozen: FrozenCharge,
    readonly request: HoldRequest,
    private admission: PendingAdmission,
  ) {
    this.durability = this.awaitRow();
  }

  /** Whether settle or void was called; a charge ends once. */
  get isEnding(): boolean {
    return this.ending !== undefined;
  }

  get limits(): CallerLimits {
    return this.request.limits;
  }

  get held(): AdmittedHold {
    return this.frozen.hold;
  }

  /**
   * Says how to learn what the stream has delivered: should this process die, that is charged. It is asked every few
   * seconds and must be cheap; undefined while nothing was delivered. Another one takes its place.
   */
  checkpointFrom(delivered: () => Delivered | undefined): void {
    this.deliveredSoFar = delivered;
  }

  /** What is to be kept of it now, as JSON; undefined where nothing was delivered since the last, or it is ending. */
  checkpoint(): string | undefined {
    const delivered = this.isEnding ? undefined : this.deliveredSoFar();
    const checkpoint = delivered && JSON.stringify(checkpointOf(delivered));
    return checkpoint === this.lastCheckpoint ? undefined : checkpoint;
  }

  keptCheckpoint(checkpoint: string): void {
    this.lastCheckpoint = checkpoint;
  }

  /**
   * Resolves once the PENDING row stands, or with why it does not: the epoch changed and the balance no longer
   * suffices, the sweeper was faster, or Postgres did not take it in time. Then the caller sends nothing and voids.
   */
  durable(): Promise<Refusal | undefined> {
    return this.inTime(this.durability);
  }

  /**
   * Raises the hold to an amount that the stream may reach, under the limits it was admitted with. Resolves with nothing
   * once the larger hold is durable, and at once where it has the amount already; else with the scope that refuses. Where
   * Postgres does not take it in time it is refused, though it may stand later: what is held too much is given back when
   * the charge ends. Nothing is added to a charge that is ending.
   */
  extend(toAmount: NanoUsd): Promise<Refusal | undefined> {
    const extension = this.lastExtension.then(() => this.extendNow(toAmount));
    this.lastExtension = extension.catch(() => undefined);
    return this.inTime(extension);
  }

  /**
   * Resolves when the charge is COMMITTED with its transfers. A refusal means that nothing was charged and nothing may
   * be answered: the hold's epoch was over before any row stood and today's balance does not suffice, or the caller has
   * withdrawn it.
   */
  async settle(settlement: Settlement): Promise<SettledCharge | Refusal> {
    try {
      const settled = await this.commit(settlement);
      this.hasEnded = true;
      return settled;
    } finally {
      this.close();
    }
  }

  /**
   * For a caller that cannot wait longer for `settle`. True where no PENDING row is known to stand: the charge is voided
   * instead (refunded, should it turn out to be committed), and the caller must not answer. False where one stands, or the
   * charge is settled by now: the caller answers.
   */
  withdraw(): boolean {
    if (this.isWithdrawn) return true;
    if (!this.ending || this.hasRow || this.isDecided) return false;
    this.isWithdrawn = true;
    const reason = { reasonCode: 'BILLING_SERVICE_ERROR', endReason: 'failed' };
    this.ending.fields = unchargedFields(this.ending.fields, reason);
    return true;
  }

  /** Resolves when the charge is VOIDED; the hold is released after that. */
  async void(reason: VoidReason): Promise<void> {
    try {
      await this.end({ fields: voidFields(reason) });
      this.hasEnded = true;
    } finally {
      this.close();
    }
  }

  /** Resolves with whether its ending stands; false where this process has given it up, and the sweeper ends it. */
  whenEnded(): Promise<boolean> {
    if (this.isClosed) return Promise.resolve(this.hasEnded);
    return new Promise((resolve) => (this.awaitEnd ??= []).push(resolve));
  }

  /**
   * Resolves once its ending stands and nothing is held for it any more, so that the same client may reserve anew; with
   * false where this process has given it up.
   */
  async whenReleased(): Promise<boolean> {
    const hasEnded = await this.whenEnded();
    if (hasEnded) await this.charges.releaseNow(this.held);
    return hasEnded;
  }

  private close(): void {
    this.isClosed = true;
    this.charges.close(this);
    for (const resolve of this.awaitEnd ?? []) resolve(this.hasEnded);
  }

  private async commit(settlement: Settlement): Promise<SettledCharge | Refusal> {
    const { amount, ...fields } = settleFields(this.frozen.price, settlement);
    const ending: Ending = { fields };
    let result = await this.end(ending);
    let refusal: Refusal | undefined;
    if (result.outcome === 'fenced') {
      refusal = await this.readmitOnce();
      if (!refusal) result = await this.charges.end(this, this.admission, ending);
      if (result.outcome === 'fenced') {
        refusal ??= refuse('QUOTA_SERVICE_ERROR', { retryAfterMs: 1_000 });
        ending.fields = unchargedFields(ending.fields, { reasonCode: 'EPOCH_CHANGED', endReason: 'fenced' });
        await this.charges.end(this, this.admission, ending);
      }
    }
    this.isDecided = true;
    if (this.isWithdrawn) {
      if (isCommitted(result)) await this.charges.refundUnanswered(this);
      return refuse('BILLING_SERVICE_ERROR', { retryAfterMs: 1_000 });
    }
    if (refusal) return refusal;
    if (result.isTakenOver === true) return refuse('BILLING_SERVICE_ERROR', { retryAfterMs: 1_000 });
    this.charges.count(fields, this.frozen.pending.is_stream);
    return { transactionId: this.held.holdId, amount, posted: result.posted };
  }

  private async end(ending: Ending): Promise<EndResult> {
    if (this.ending) throw new Error(`charge ${this.held.holdId} ends twice`);
    this.ending = ending;
    // Nothing of a hold may be moved after its end; what has been asked already is known soon.
    if (this.asking) await this.asking;
    // A row that has left its queue is awaited: it may be fenced, and the hold moving into today's epoch just now.
    if (this.admission.state !== 'queued') this.hasRow = (await this.durability) === undefined;
    return this.charges.end(this, this.admission, ending);
  }

  private async extendNow(toAmount: NanoUsd): Promise<Refusal | undefined> {
    const refusal = await this.durability;
    if (refusal) return refusal;
    if (toAmount <= this.held.amount) return undefined;
    this.hasRow = true;
    const raised = await this.charges.raise(this, toAmount, (ask) => this.whileOpen(ask));
    if ('code' in raised) return raised;
    this.frozen = { ...this.frozen, hold: raised };
    return undefined;
  }

  private async whileOpen<T>(ask: () => Promise<T>): Promise<T | undefined> {
    if (this.isEnding) return undefined;
    const answer = ask();
    this.asking = answer.catch(() => undefined);
    return answer;
  }

  /** The longest that a caller waits for a row. */
  private inTime(written: Promise<Refusal | undefined>): Promise<Refusal | undefined> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<Refusal>((resolve) => {
      timer = setTimeout(() => {
        resolve(refuse('BILLING_SERVICE_ERROR', { retryAfterMs: 1_000 }));
      }, this.charges.waitMs);
    });
    return Promise.race([written, late]).finally(() => {
      clearTimeout(timer);
    });
  }

  private async awaitRow(): Promise<Refusal | undefined> {
    for (;;) {
      const outcome = await this.admission.done;
      if (outcome === 'admitted') return undefined;
      if (outcome !== 'fenced') return refuse('BILLING_SERVICE_ERROR', { retryAfterMs: 1_000 });
      const refusal = await this.readmitOnce();
      if (refusal) return refusal;
    }
  }

  private async readmitOnce(): Promise<Refusal | undefined> {
    if (this.wasReadmitted) return refuse('QUOTA_SERVICE_ERROR', { retryAfterMs: 1_000 });
    this.wasReadmitted = true;
    const readmitted = await this.charges.readmit(this);
    if ('code' in readmitted) return readmitted;
    this.admission = readmitted;
    return undefined;
  }
}

function isCommitted({ outcome }: EndResult): boolean {
  return outcome === 'committed' || outcome === 'already_committed';
}
