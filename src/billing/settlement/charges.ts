import { type BeforeApplicationShutdown, Inject, Injectable, Logger } from '@nestjs/common';
import { setTimeout as pause } from 'node:timers/promises';
import { v5 } from 'uuid';
import { refuse, type Refusal, RefusalError } from '../../kernel/errors';
import { Settings } from '../../platform/config/settings';
import { Metrics } from '../../platform/metrics/metrics';
import { ProcessIdentity } from '../../platform/process/process-identity';
import {
  type AdmittedHold,
  type EndedHold,
  type HoldRequest,
  QUOTA_STORE,
  type QuotaStore,
  QuotaUnavailableError,
} from '../../quota/quota-store.port';
import type { CallerLimits } from '../../quota/scopes/caller-limits';
import type { FrozenPrice } from '../../catalogue/price';
import type { FrozenCharge, SettledCharge, Settlement, VoidReason } from '../charge';
import { admitRow, endedHold, type EndFields, settleFields, voidFields } from '../writer/charge-rows';
import { retryPauseMs } from '../writer/retry-pause';
import { isRefusedData } from '../writer/write-halving';
import { ChargeWriter, type Ending, type EndResult, PendingAdmission } from '../writer/charge-writer';
import { LedgerService } from '../ledger/ledger.service';
import type { Refund } from '../ledger/refund';
import { ProjectionQueue } from './projection-queue';

/** Ids of late-settle corrections derive from the charge's id, so that booking one twice collides. */
const CORRECTION_NAMESPACE = '6f1c2a9e-6b5d-4a57-9a0e-0d7f0e9a4b11';
/** After an unanswered reserve, when whatever it may have left behind is released once more. */
const SECOND_RELEASE_MS = 5_000;
const WRITES_STOP_AFTER_MS = 10_000;
/** For refunds under way and the projection; what it misses after this, the sweeper of another process tells it. */
const TELLING_STOPS_AFTER_MS = 2_000;

/**
 * Charges that are open in this process, from the admitted hold to the committed ending. Each ends once: through
 * `OpenCharge.settle` or `OpenCharge.void`; should the process die, through the sweeper.
 */
@Injectable()
export class Charges implements BeforeApplicationShutdown {
  private readonly logger = new Logger(Charges.name);
  private readonly open = new Map<string, OpenCharge>();
  /** Reserves without an answer whose second release is still to come. */
  private abandonedReserves = 0;
  /** Endings that Postgres did not take before this process had to stop. */
  private unwritten = 0;
  private readonly refunds = new Set<Promise<void>>();
  private isLeaving = false;

  constructor(
    private readonly writer: ChargeWriter,
    private readonly projection: ProjectionQueue,
    @Inject(QUOTA_STORE) private readonly store: QuotaStore,
    private readonly process: ProcessIdentity,
    private readonly settings: Settings,
    private readonly metrics: Metrics,
    private readonly ledger: LedgerService,
  ) {
    metrics.beforeScrape(() => {
      metrics.holdsOpen.set(this.open.size);
      metrics.writerQueueDepth.of('admissions').set(writer.depth.admissions);
      metrics.writerQueueDepth.of('endings').set(writer.depth.endings);
      metrics.writerQueueDepth.of('projection').set(projection.depth);
    });
  }

  /** What was ended is written and projected before any connection closes. */
  async beforeApplicationShutdown(): Promise<void> {
    await this.writer.drain(WRITES_STOP_AFTER_MS);
    this.isLeaving = true;
    const startedMs = performance.now();
    await Promise.race([Promise.allSettled(this.refunds), pause(TELLING_STOPS_AFTER_MS, undefined, { ref: false })]);
    const isToldAll = await this.projection.drain(TELLING_STOPS_AFTER_MS - (performance.now() - startedMs));
    if (!isToldAll) this.logger.warn('the projection misses endings: the sweeper of another process tells it');
  }

  /** Whether this process may leave anything to the sweeper: then its row must not say that it ended. */
  get hasLeftovers(): boolean {
    return this.open.size > 0 || this.abandonedReserves > 0 || this.unwritten > 0 || !this.projection.isIdle;
  }

  /** Smallest trace id of the open charges, undefined where none is open. */
  oldestOpenTraceId(): string | undefined {
    let oldest: string | undefined;
    for (const { frozen } of this.open.values()) {
      if (oldest === undefined || frozen.pending.trace_id < oldest) oldest = frozen.pending.trace_id;
    }
    return oldest;
  }

  /** Takes over an admitted hold: its PENDING row is on its way when this returns. A refusal has released the hold. */
  begin(hold: AdmittedHold, request: HoldRequest, price: FrozenPrice): OpenCharge | Refusal {
    const frozen: FrozenCharge = { hold, pending: request.pending, price };
    const admission = this.projection.isFull ? undefined : this.admit(frozen);
    if (!admission) {
      this.projection.release(hold.tenantId, hold.holdId);
      return refuse('BILLING_SERVICE_ERROR', { retryAfterMs: 1_000 });
    }
    const charge = new OpenCharge(this, frozen, request, admission);
    this.open.set(hold.holdId, charge);
    return charge;
  }

  /** After a reserve that was not answered: whether it left a hold is unknown, releasing an unknown hold is harmless. */
  abandonReserve(tenantId: string, holdId: string): void {
    this.projection.release(tenantId, holdId);
    this.abandonedReserves += 1;
    setTimeout(() => {
      this.abandonedReserves -= 1;
      this.projection.release(tenantId, holdId);
    }, SECOND_RELEASE_MS).unref();
  }

  /** Reserves again in today's epoch, once, where the hold's epoch is over; the same hold id, so never two holds. */
  async readmit(charge: OpenCharge): Promise<Refusal | PendingAdmission> {
    const { hold } = charge.frozen;
    try {
      const outcome = await this.store.reserve({ ...charge.request, amount: hold.amount, isReadmission: true });
      if (!outcome.admitted) return outcome.refusal;
      charge.frozen = { ...charge.frozen, hold: outcome.hold };
      return this.admit(charge.frozen) ?? refuse('BILLING_SERVICE_ERROR', { retryAfterMs: 1_000 });
    } catch (error) {
      this.logger.warn(`a fenced hold could not be reserved again: ${String(error)}`);
      if (!(error instanceof QuotaUnavailableError) || error.mayHold) this.abandonReserve(hold.tenantId, hold.holdId);
      return refuse('QUOTA_SERVICE_ERROR', { retryAfterMs: 1_000 });
    }
  }

  async end(charge: OpenCharge, admission: PendingAdmission, ending: Ending): Promise<EndResult> {
    const { tenantId, holdId } = charge.frozen.hold;
    try {
      const result = await this.writer.end(admission, ending);
      const projected = this.project(tenantId, endedHold(holdId, ending.fields), result);
      if (projected) await projected;
      if (result.outcome === 'already_voided' && ending.fields.is_commit) {
        charge.isDecided = true;
        await this.bookLate(charge, ending.fields);
      }
      return result;
    } catch (error) {
      // A row Postgres never takes: nothing was charged, and the money must not stay held for ever. What was only given
      // up may have been committed unheard: its hold stays until the sweeper has seen what stands.
      if (isRefusedData(error)) this.projection.release(tenantId, holdId);
      else this.unwritten += 1;
      throw error;
    }
  }

  /** The charge has ended, or nothing more can be done for it in this process. */
  close(charge: OpenCharge): void {
    this.open.delete(charge.held.holdId);
  }

  get waitMs(): number {
    return this.settings.billingWaitMs;
  }

  count(fields: EndFields, isStream: boolean): void {
    if (!fields.is_commit) return;
    this.metrics.billingDeductSuccess.inc();
    if (isStream) this.metrics.billingStreamCommitted.inc();
  }

  /** A charge was committed after all though its caller had given it up: the tenant gets the amount back. */
  async refundUnanswered({ held }: OpenCharge): Promise<void> {
    const refunding = this.refundForward({
      tenantId: held.tenantId,
      chargeId: held.holdId,
      reasonCode: 'UNANSWERED',
      description: `charge ${held.holdId} was committed after its call had been answered with an error`,
    });
    this.refunds.add(refunding);
    await refunding.finally(() => this.refunds.delete(refunding));
  }

  /** Tried again until it stands or the process leaves: Postgres has just been away. */
  private async refundForward(refund: Refund): Promise<void> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        await this.ledger.refund(refund);
        return;
      } catch (error) {
        if (this.isLeaving || error instanceof RefusalError) {
          this.logger.error(`charge ${refund.chargeId} was not answered and is still to be refunded: ${String(error)}`);
          return;
        }
        if (attempt === 0) this.logger.warn(`a refund is tried again: ${String(error)}`);
      }
      await pause(retryPauseMs(attempt));
    }
  }

  /** One whose reservation wrote its row has nothing left to be written. */
  private admit(frozen: FrozenCharge): PendingAdmission | undefined {
    const row = admitRow(frozen, this.process.id);
    return frozen.hold.isDurable ? PendingAdmission.ofStandingRow(row) : this.writer.admit(row);
  }

  /** Answers a promise only where the projection must be told before going on. */
  private project(tenantId: string, ended: EndedHold, result: EndResult): Promise<void> | undefined {
    switch (result.outcome) {
      case 'committed':
        return this.projection.settle(tenantId, ended, result);
      case 'already_committed':
        return this.projectStanding(tenantId, ended, result);
      case 'voided':
      case 'already_voided':
        this.projection.release(tenantId, ended.holdId);
        return undefined;
      case 'fenced':
      case 'missing':
        return undefined;
    }
  }

  /** By whom it was committed, and to what, only the row can say: it may have been the sweeper, by a checkpoint. */
  private async projectStanding(tenantId: string, ended: EndedHold, result: EndResult): Promise<void> {
    const standing = await this.ledger.committedHold(ended.holdId).catch(() => undefined);
    await this.projection.settle(tenantId, standing ?? ended, result);
  }

  /** The sweeper took us for dead and voided the charge, yet the answer went out: what it cost is booked beside it. */
  private async bookLate(charge: OpenCharge, fields: EndFields): Promise<void> {
    const row = admitRow(charge.frozen, this.process.id);
    const result = await this.writer.write({
      ...row,
      ...fields,
      id: v5(row.id, CORRECTION_NAMESPACE),
      trace_id: v5(row.trace_id, CORRECTION_NAMESPACE),
      type: 'correction',
      reason_code: 'LATE_SETTLE',
      description: `late settle of charge ${row.id}`,
      is_new: true,
    });
    this.logger.error(`charge ${row.id} had been swept; its late settle was booked as a correction`);
    this.projection.tell(row.tenant_id, result);
  }
}

/** One admitted hold until its charge has ended. */
export class OpenCharge {
  private ending: Ending | undefined;
  /** How it ended can no longer be changed by its caller. */
  isDecided = false;
  private isWithdrawn = false;
  private wasReadmitted = false;
  private hasRow = false;
  private readonly durability: Promise<Refusal | undefined>;

  constructor(
    private readonly charges: Charges,
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
   * Resolves once the PENDING row stands, or with why it does not: the epoch changed and the balance no longer
   * suffices, the sweeper was faster, or Postgres did not take it in time. Then the caller sends nothing and voids.
   */
  durable(): Promise<Refusal | undefined> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<Refusal>((resolve) => {
      timer = setTimeout(() => {
        resolve(refuse('BILLING_SERVICE_ERROR', { retryAfterMs: 1_000 }));
      }, this.charges.waitMs);
    });
    return Promise.race([this.durability, late]).finally(() => {
      clearTimeout(timer);
    });
  }

  /**
   * Resolves when the charge is COMMITTED with its transfers. A refusal means that nothing was charged and nothing may
   * be answered: the hold's epoch was over before any row stood and today's balance does not suffice, or the caller has
   * withdrawn it.
   */
  async settle(settlement: Settlement): Promise<SettledCharge | Refusal> {
    try {
      return await this.commit(settlement);
    } finally {
      this.charges.close(this);
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
    this.ending.fields = {
      ...voidFields({ reasonCode: 'BILLING_SERVICE_ERROR', endReason: 'failed' }),
      upstream_id: this.ending.fields.upstream_id,
      upstream_name: this.ending.fields.upstream_name,
      provider_name: this.ending.fields.provider_name,
    };
    return true;
  }

  /** Resolves when the charge is VOIDED; the hold is released after that. */
  async void(reason: VoidReason): Promise<void> {
    try {
      await this.end({ fields: voidFields(reason) });
    } finally {
      this.charges.close(this);
    }
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
        ending.fields = voidFields({ reasonCode: 'EPOCH_CHANGED', endReason: 'fenced' });
        await this.charges.end(this, this.admission, ending);
      }
    }
    this.isDecided = true;
    if (this.isWithdrawn) {
      if (isCommitted(result)) await this.charges.refundUnanswered(this);
      return refuse('BILLING_SERVICE_ERROR', { retryAfterMs: 1_000 });
    }
    if (refusal) return refusal;
    this.charges.count(fields, this.frozen.pending.is_stream);
    return { transactionId: this.held.holdId, amount, posted: result.posted };
  }

  private async end(ending: Ending): Promise<EndResult> {
    if (this.ending) throw new Error(`charge ${this.held.holdId} ends twice`);
    this.ending = ending;
    // A row that has left its queue is awaited: it may be fenced, and the hold moving into today's epoch just now.
    if (this.admission.state !== 'queued') this.hasRow = (await this.durability) === undefined;
    return this.charges.end(this, this.admission, ending);
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
