import { type BeforeApplicationShutdown, Injectable, Logger } from '@nestjs/common';
import { refuse, type Refusal } from '../../kernel/errors';
import type { NanoUsd } from '../../kernel/money';
import { isRefusedData } from '../../platform/database/sql-state';
import { Settings } from '../../platform/config/settings';
import { Metrics } from '../../platform/metrics/metrics';
import { ProcessIdentity } from '../../platform/process/process-identity';
import { type AdmittedHold, type HoldRequest, QuotaUnavailableError } from '../../quota/quota-store.port';
import type { FrozenPrice } from '../../catalogue/price';
import type { FrozenCharge } from '../charge';
import { admitRow, endedHold, type EndFields } from '../writer/charge-rows';
import { ChargeWriter, type Ending, type EndResult, PendingAdmission } from '../writer/charge-writer';
import { LateEndings } from './late-endings';
import { type ChargeHouse, OpenCharge } from './open-charge';
import { OpenHolds, type WhileOpen } from './open-holds';
import { ProjectionQueue } from './projection-queue';

/** After an unanswered reserve, when whatever it may have left behind is released once more. */
const SECOND_RELEASE_MS = 5_000;
const WRITES_STOP_AFTER_MS = 10_000;
/** For corrections and refunds under way and the projection; what it misses after this, the sweeper of another process tells it. */
const TELLING_STOPS_AFTER_MS = 2_000;

/**
 * Charges that are open in this process, from the admitted hold to the committed ending. Each ends once: through
 * `OpenCharge.settle` or `OpenCharge.void`; should the process die, through the sweeper.
 */
@Injectable()
export class Charges implements ChargeHouse, BeforeApplicationShutdown {
  private readonly logger = new Logger(Charges.name);
  private readonly open = new Map<string, OpenCharge>();
  /** Trace ids of calls that are being reserved. */
  private readonly opening = new Set<string>();
  /** Reserves without an answer whose second release is still to come. */
  private abandonedReserves = 0;
  /** Endings that Postgres did not take before this process had to stop. */
  private unwritten = 0;
  private isDead = false;

  constructor(
    private readonly writer: ChargeWriter,
    private readonly projection: ProjectionQueue,
    private readonly holds: OpenHolds,
    private readonly process: ProcessIdentity,
    private readonly settings: Settings,
    private readonly metrics: Metrics,
    private readonly late: LateEndings,
  ) {
    metrics.beforeScrape(() => {
      metrics.holdsOpen.set(this.open.size);
      metrics.writerQueueDepth.of('admissions').set(writer.depth.admissions);
      metrics.writerQueueDepth.of('endings').set(writer.depth.endings);
      metrics.writerQueueDepth.of('extensions').set(writer.depth.extensions);
      metrics.writerQueueDepth.of('projection').set(projection.depth);
    });
  }

  /** What was ended is written and projected before any connection closes. */
  async beforeApplicationShutdown(): Promise<void> {
    await this.writer.drain(WRITES_STOP_AFTER_MS);
    const startedMs = performance.now();
    await this.late.finish(TELLING_STOPS_AFTER_MS);
    const isToldAll = await this.projection.drain(TELLING_STOPS_AFTER_MS - (performance.now() - startedMs));
    if (!isToldAll) this.logger.warn('the projection misses endings: the sweeper of another process tells it');
  }

  /** Whether this process may leave anything to the sweeper: then its row must not say that it ended. */
  get hasLeftovers(): boolean {
    return this.open.size > 0 || this.abandonedReserves > 0 || this.unwritten > 0 || !this.projection.isIdle;
  }

  all(): Iterable<OpenCharge> {
    return this.open.values();
  }

  /** Before a call is reserved: its row may stand before it is open here. What it returns is called when that is decided. */
  opens(traceId: string): () => void {
    this.opening.add(traceId);
    return () => {
      this.opening.delete(traceId);
    };
  }

  /** Smallest trace id of the charges that are open or being opened, undefined where none is. */
  oldestOpenTraceId(): string | undefined {
    let oldest: string | undefined;
    for (const traceId of this.opening) if (oldest === undefined || traceId < oldest) oldest = traceId;
    for (const { frozen } of this.open.values()) {
      if (oldest === undefined || frozen.pending.trace_id < oldest) oldest = frozen.pending.trace_id;
    }
    return oldest;
  }

  /** This process was declared dead: what it opens nobody would end, so it opens nothing any more. */
  admitNothingMore(): void {
    this.isDead = true;
  }

  /** Takes over an admitted hold: its PENDING row is on its way when this returns. A refusal has released the hold. */
  begin(hold: AdmittedHold, request: HoldRequest, price: FrozenPrice): OpenCharge | Refusal {
    const frozen: FrozenCharge = { hold, pending: request.pending, price };
    const admission = this.projection.isFull || this.isDead ? undefined : this.admit(frozen);
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
      const outcome = await this.holds.reserveAgain(charge.request, hold.amount);
      if (!outcome.admitted) return outcome.refusal;
      charge.frozen = { ...charge.frozen, hold: outcome.hold };
      return this.admit(charge.frozen) ?? refuse('BILLING_SERVICE_ERROR', { retryAfterMs: 1_000 });
    } catch (error) {
      this.logger.warn(`a fenced hold could not be reserved again: ${String(error)}`);
      if (!(error instanceof QuotaUnavailableError) || error.mayHold) this.abandonReserve(hold.tenantId, hold.holdId);
      return refuse('QUOTA_SERVICE_ERROR', { retryAfterMs: 1_000 });
    }
  }

  raise({ frozen, request }: OpenCharge, amount: NanoUsd, whileOpen: WhileOpen): Promise<AdmittedHold | Refusal> {
    return this.holds.raise(frozen.hold, request, amount, whileOpen);
  }

  /** Resolves when the ending stands, or what is booked instead where the charge had ended already. */
  async end(charge: OpenCharge, admission: PendingAdmission, ending: Ending): Promise<EndResult> {
    const { tenantId, holdId } = charge.frozen.hold;
    try {
      const result = await this.writer.end(admission, ending);
      switch (result.outcome) {
        case 'committed':
          await this.projection.settle(tenantId, endedHold(holdId, result.sent), result);
          return result;
        case 'already_committed':
          return await this.endCommitted(charge, ending, result);
        case 'voided':
          this.projection.release(tenantId, holdId);
          return result;
        case 'already_voided':
          this.projection.release(tenantId, holdId);
          return await this.endVoided(charge, ending, result);
        case 'fenced':
        case 'missing':
          return result;
      }
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

  /** Of a charge that has ended: resolves when the projection has been told, or was away and is told later. */
  async releaseNow({ tenantId, holdId }: AdmittedHold): Promise<void> {
    await this.projection.releaseNow(tenantId, holdId);
  }

  get waitMs(): number {
    return this.settings.billingWaitMs;
  }

  count(fields: EndFields, isStream: boolean): void {
    if (!fields.is_commit) return;
    this.metrics.billingDeductSuccess.inc();
    if (isStream) this.metrics.billingStreamCommitted.inc();
  }

  async refundUnanswered({ held }: OpenCharge): Promise<void> {
    await this.late.refundUnanswered(held.tenantId, held.holdId);
  }

  /** One whose reservation wrote its row has nothing left to be written. */
  private admit(frozen: FrozenCharge): PendingAdmission | undefined {
    const row = admitRow(frozen, this.process.id);
    return frozen.hold.isDurable ? PendingAdmission.ofStandingRow(row) : this.writer.admit(row);
  }

  /** By this process, which did not hear of it; or by the sweeper, by what it knew of a process that it took for dead. */
  private async endCommitted(charge: OpenCharge, ending: Ending, result: EndResult): Promise<EndResult> {
    const { tenantId } = charge.frozen.hold;
    const { ended, isSwept, isTakenOver } = await this.late.standing(charge.frozen.hold.holdId);
    await this.projection.settle(tenantId, ended, result);
    // From here on the caller cannot end it otherwise.
    if (ending.fields.is_commit) charge.isDecided = true;
    const { is_commit, amount_nano_usd } = ending.fields;
    if (isTakenOver) return { ...result, isTakenOver };
    if (!isSwept || (is_commit && amount_nano_usd === ended.amount.toString())) return result;
    const booked = await this.late.bookDifference(charge.frozen, ending.fields);
    this.projection.tell(tenantId, booked);
    return { ...result, ...booked };
  }

  private async endVoided(charge: OpenCharge, ending: Ending, result: EndResult): Promise<EndResult> {
    if (!ending.fields.is_commit) return result;
    charge.isDecided = true;
    const balance = await this.late.bookWhole(charge.frozen, ending.fields);
    if (!balance) return { ...result, isTakenOver: true };
    this.projection.tell(charge.frozen.hold.tenantId, balance);
    return { ...result, posted: balance.posted, version: balance.version };
  }
}
