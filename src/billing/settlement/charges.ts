import { type BeforeApplicationShutdown, Inject, Injectable, Logger } from '@nestjs/common';
import { v5 } from 'uuid';
import { refuse, type Refusal } from '../../kernel/errors';
import { Settings } from '../../platform/config/settings';
import { Metrics } from '../../platform/metrics/metrics';
import { ProcessIdentity } from '../../platform/process/process-identity';
import { type AdmittedHold, QUOTA_STORE, type QuotaStore, type TenantLimits } from '../../quota/quota-store.port';
import type { FrozenCharge, SettledCharge, Settlement, VoidReason } from '../charge';
import { admitRow, type EndFields, settleFields, voidFields } from '../writer/charge-rows';
import { ChargeWriter, type EndResult, type PendingAdmission } from '../writer/charge-writer';
import { ProjectionQueue } from './projection-queue';

/** Ids of late-settle corrections derive from the charge's id, so that booking one twice collides. */
const CORRECTION_NAMESPACE = '6f1c2a9e-6b5d-4a57-9a0e-0d7f0e9a4b11';
/** After an unanswered reserve, when whatever it may have left behind is released once more. */
const SECOND_RELEASE_MS = 5_000;
const WRITES_STOP_AFTER_MS = 10_000;
/** What the projection misses after this, the sweeper of another process tells it. */
const PROJECTION_STOPS_AFTER_MS = 2_000;

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
  private isAllWritten = true;

  constructor(
    private readonly writer: ChargeWriter,
    private readonly projection: ProjectionQueue,
    @Inject(QUOTA_STORE) private readonly store: QuotaStore,
    private readonly process: ProcessIdentity,
    private readonly settings: Settings,
    private readonly metrics: Metrics,
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
    const startedMs = performance.now();
    await this.writer.drain(WRITES_STOP_AFTER_MS);
    // Where it took about as long as it may, it may have given up.
    this.isAllWritten = performance.now() - startedMs < WRITES_STOP_AFTER_MS - 100;
    const isToldAll = await this.projection.drain(PROJECTION_STOPS_AFTER_MS);
    if (!isToldAll) this.logger.warn('the projection misses endings: the sweeper of another process tells it');
  }

  /** Whether this process may leave anything to the sweeper: then its row must not say that it ended. */
  get hasLeftovers(): boolean {
    return this.open.size > 0 || this.abandonedReserves > 0 || !this.isAllWritten || !this.projection.isIdle;
  }

  get openCount(): number {
    return this.open.size;
  }

  /** Smallest trace id of the open charges, undefined where none is open. */
  oldestOpenTraceId(): string | undefined {
    let oldest: string | undefined;
    for (const { frozen } of this.open.values()) {
      if (oldest === undefined || frozen.traceId < oldest) oldest = frozen.traceId;
    }
    return oldest;
  }

  /** Takes over an admitted hold: its PENDING row is on its way when this returns. A refusal has released the hold. */
  begin(frozen: FrozenCharge, limits: TenantLimits): OpenCharge | Refusal {
    const admission = this.writer.admit(admitRow(frozen, this.process.id));
    if (!admission) {
      this.projection.release(frozen.hold.tenantId, frozen.hold.holdId);
      return refuse('BILLING_SERVICE_ERROR', { retryAfterMs: 1_000 });
    }
    const charge = new OpenCharge(this, frozen, limits, admission);
    this.open.set(frozen.hold.holdId, charge);
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
      const outcome = await this.store.reserve({
        holdId: hold.holdId,
        amount: hold.amount,
        limits: charge.limits,
        isReadmission: true,
      });
      if (!outcome.admitted) return outcome.refusal;
      charge.frozen = { ...charge.frozen, hold: outcome.hold };
      return (
        this.writer.admit(admitRow(charge.frozen, this.process.id)) ??
        refuse('BILLING_SERVICE_ERROR', { retryAfterMs: 1_000 })
      );
    } catch (error) {
      this.logger.warn(`a fenced hold could not be reserved again: ${String(error)}`);
      this.abandonReserve(hold.tenantId, hold.holdId);
      return refuse('QUOTA_SERVICE_ERROR', { retryAfterMs: 1_000 });
    }
  }

  async end(charge: OpenCharge, admission: PendingAdmission, fields: EndFields): Promise<EndResult> {
    const { tenantId, holdId } = charge.frozen.hold;
    try {
      const result = await this.writer.end(admission, fields);
      this.project(tenantId, holdId, result);
      if (result.outcome === 'already_voided' && fields.is_commit) await this.bookLate(charge, fields);
      return result;
    } catch (error) {
      // A row Postgres never takes: nothing was charged, and the money must not stay held for ever.
      this.projection.release(tenantId, holdId);
      throw error;
    } finally {
      this.open.delete(holdId);
    }
  }

  get waitMs(): number {
    return this.settings.billingWaitMs;
  }

  count(fields: EndFields, isStream: boolean): void {
    if (!fields.is_commit) return;
    this.metrics.billingDeductSuccess.inc();
    if (isStream) this.metrics.billingStreamCommitted.inc();
  }

  private project(tenantId: string, holdId: string, result: EndResult): void {
    if (result.outcome === 'committed' || result.outcome === 'already_committed') {
      this.projection.settle(tenantId, holdId, result);
    } else if (result.outcome === 'voided' || result.outcome === 'already_voided') {
      this.projection.release(tenantId, holdId);
    }
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
    this.projection.settle(row.tenant_id, row.id, result);
  }
}

/** One admitted hold until its charge has ended. */
export class OpenCharge {
  private hasEnded = false;
  private wasReadmitted = false;
  private readonly durability: Promise<Refusal | undefined>;

  constructor(
    private readonly charges: Charges,
    public frozen: FrozenCharge,
    readonly limits: TenantLimits,
    private admission: PendingAdmission,
  ) {
    this.durability = this.awaitRow();
  }

  /** Whether settle or void was called; a charge ends once. */
  get isEnding(): boolean {
    return this.hasEnded;
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
   * be answered: the hold's epoch was over before any row stood, and today's balance does not suffice.
   */
  async settle(settlement: Settlement): Promise<SettledCharge | Refusal> {
    const { amount, ...fields } = settleFields(this.frozen.price, settlement);
    let result = await this.end(fields);
    if (result.outcome === 'fenced') {
      const refusal = await this.readmitOnce();
      if (!refusal) result = await this.charges.end(this, this.admission, fields);
      if (result.outcome === 'fenced') {
        await this.charges.end(this, this.admission, voidFields({ reasonCode: 'EPOCH_CHANGED', endReason: 'fenced' }));
        return refusal ?? refuse('QUOTA_SERVICE_ERROR', { retryAfterMs: 1_000 });
      }
    }
    this.charges.count(fields, this.frozen.isStream);
    return { transactionId: this.held.holdId, amount, posted: result.posted };
  }

  /** Resolves when the charge is VOIDED; the hold is released after that. */
  async void(reason: VoidReason): Promise<void> {
    await this.end(voidFields(reason));
  }

  private async end(fields: EndFields): Promise<EndResult> {
    if (this.hasEnded) throw new Error(`charge ${this.held.holdId} ends twice`);
    this.hasEnded = true;
    // A row that has left its queue is awaited: it may be fenced, and the hold moving into today's epoch just now.
    if (this.admission.state !== 'queued') await this.durability;
    return this.charges.end(this, this.admission, fields);
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
