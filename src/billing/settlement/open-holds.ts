import { Inject, Injectable, Logger } from '@nestjs/common';
import type { Pool } from 'pg';
import { messageOf } from '../../kernel/error-message';
import { refuse, type Refusal } from '../../kernel/errors';
import type { NanoUsd } from '../../kernel/money';
import { PG_POOL } from '../../platform/database/pg-pool';
import {
  type AdmittedHold,
  type HoldRequest,
  QUOTA_STORE,
  QuotaUnavailableError,
  type QuotaStore,
  type ReserveOutcome,
} from '../../quota/quota-store.port';
import { ChargeWriter } from '../writer/charge-writer';
import { ProjectionQueue } from './projection-queue';

/** What is asked of the quota, where the charge is not ending yet; undefined where it is. The ending waits for it. */
export type WhileOpen = <T>(ask: () => Promise<T>) => Promise<T | undefined>;

/** Epochs that one extension may follow the hold into. */
const MAX_EPOCHS = 2;
const UNAVAILABLE = refuse('QUOTA_SERVICE_ERROR', { retryAfterMs: 1_000 });
/** It has ended, or is ending, or its row cannot be reached: nothing is added to it. */
const NOT_RAISED = refuse('BILLING_SERVICE_ERROR', { retryAfterMs: 1_000 });

/**
 * What becomes of a hold between its admission and its end: it is reserved again where its epoch is over, or raised.
 *
 *   raise: quota ─► row       where the row's transaction is the reservation (Postgres decides), quota alone
 *     epoch over on the way: the hold, which stands in the rebuilt projection with what its row has, is found there and
 *     raised again; the row has ended: refused
 *
 * Quota first, so that what a row holds is always covered. Where the process dies in between, quota holds more than the row
 * until the sweeper ends the charge: it gives back what the hold has, not what the row says.
 */
@Injectable()
export class OpenHolds {
  private readonly logger = new Logger(OpenHolds.name);

  constructor(
    @Inject(QUOTA_STORE) private readonly store: QuotaStore,
    private readonly writer: ChargeWriter,
    private readonly projection: ProjectionQueue,
    @Inject(PG_POOL) private readonly pool: Pool,
  ) {}

  /** In today's epoch, under the same id, so never two holds. Throws QuotaUnavailableError. */
  reserveAgain(request: HoldRequest, amount: NanoUsd): Promise<ReserveOutcome> {
    return this.store.reserve({ ...request, amount, isReadmission: true });
  }

  /**
   * Raises the hold of a charge whose row stands; resolves with the hold as it is once that is durable, however long
   * Postgres takes. Refused, nothing has changed but what quota may hold until the charge ends.
   */
  async raise(
    hold: AdmittedHold,
    request: HoldRequest,
    amount: NanoUsd,
    whileOpen: WhileOpen,
  ): Promise<AdmittedHold | Refusal> {
    let current = hold;
    for (let epochs = 0; epochs < MAX_EPOCHS; epochs += 1) {
      const outcome = await this.refusing(() => this.raiseOnce(current, request, amount, whileOpen));
      if (outcome === 'durable') return { ...current, amount };
      if (outcome !== 'gone') return outcome;
      const followed = await this.refusing(() => this.follow(current, request, whileOpen));
      if ('code' in followed) return followed;
      current = followed;
    }
    return UNAVAILABLE;
  }

  private async raiseOnce(
    { tenantId, holdId, epoch, isDurable }: AdmittedHold,
    { limits, service, platform }: HoldRequest,
    amount: NanoUsd,
    whileOpen: WhileOpen,
  ): Promise<'durable' | 'gone' | Refusal> {
    const outcome = await whileOpen(() => this.store.extend({ holdId, limits, epoch, amount, service, platform }));
    if (!outcome) return NOT_RAISED;
    if (!outcome.extended) return outcome.refusal;
    if (isDurable) return 'durable';
    const row = { id: holdId, tenant_id: tenantId, hold_nano_usd: amount.toString(), epoch: epoch.toString() };
    return (await this.writer.extend(row)) ? 'durable' : 'gone';
  }

  /** Into the current epoch, where the charge is still open. */
  private async follow(
    hold: AdmittedHold,
    request: HoldRequest,
    whileOpen: WhileOpen,
  ): Promise<AdmittedHold | Refusal> {
    if (!(await this.isOpen(hold.holdId))) return NOT_RAISED;
    const outcome = await whileOpen(() => this.reserveAgain(request, hold.amount));
    if (!outcome) return NOT_RAISED;
    if (!outcome.admitted) return outcome.refusal;
    // Somebody ended it meanwhile: what was found may have been made anew, and nobody would end it.
    const { epoch, isDurable } = outcome.hold;
    if (await this.isOpen(hold.holdId)) return { ...hold, epoch, isDurable };
    this.projection.release(hold.tenantId, hold.holdId);
    return NOT_RAISED;
  }

  /** Where quota or ledger cannot be asked: what may have been raised all the same is given back when the charge ends. */
  private async refusing<T>(ask: () => Promise<T>): Promise<T | Refusal> {
    try {
      return await ask();
    } catch (error) {
      this.logger.warn(`a hold could not be raised: ${messageOf(error)}`);
      return error instanceof QuotaUnavailableError ? UNAVAILABLE : NOT_RAISED;
    }
  }

  private async isOpen(holdId: string): Promise<boolean> {
    const { rowCount } = await this.pool.query(`select from billing_transaction where id = $1 and status = 'PENDING'`, [
      holdId,
    ]);
    return rowCount === 1;
  }
}
