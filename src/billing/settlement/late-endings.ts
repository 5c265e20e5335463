import { setTimeout as pause } from 'node:timers/promises';
import { Inject, Injectable, Logger } from '@nestjs/common';
import type { Pool, PoolClient } from 'pg';
import { messageOf } from '../../kernel/error-message';
import { RefusalError } from '../../kernel/errors';
import { PG_POOL } from '../../platform/database/pg-pool';
import { isRefusedData } from '../../platform/database/sql-state';
import { withTransaction } from '../../platform/database/with-transaction';
import { ProcessIdentity } from '../../platform/process/process-identity';
import type { EndedHold, PostedBalance } from '../../quota/quota-store.port';
import type { FrozenCharge } from '../charge';
import { balanceNow } from '../ledger/booking';
import { LedgerService } from '../ledger/ledger.service';
import { OWN_REASON_CODE } from '../ledger/reason-codes';
import { postRefund, type Refund } from '../ledger/refund';
import { admitRow, type EndFields, type EndRow, SWEPT_END_REASON } from '../writer/charge-rows';
import { ChargeWriter } from '../writer/charge-writer';
import { retryPauseMs } from '../writer/retry-pause';
import { Turns } from '../writer/turns';
import { carryOver, reRatedOf, returnDebits } from './carry-over';
import { correctionIdOf, correctionTraceIdOf } from './correction-id';

const REASON_CODE = OWN_REASON_CODE.lateSettle;
/** Transactions at once: a process that was paused may have to correct all its streams, on the hot path's connections. */
const AT_ONCE = 3;

/** What stands of a charge that somebody has committed. */
export interface StandingCharge {
  readonly ended: EndedHold;
  /** The sweeper took its process for dead and charged what it knew; else it was this process itself. */
  readonly isSwept: boolean;
  /** It was given back, because another call has its idempotency key: this one must not be answered. */
  readonly isTakenOver: boolean;
}

export interface BookedDifference extends PostedBalance {
  /** Nothing was booked, because another call has its idempotency key. */
  readonly isTakenOver: boolean;
}

/**
 * What is booked beside a charge that had ended before its process could say how: it was paused and declared dead, and the
 * sweeper was faster, or its answer was never sent. Ended rows do not change; linked transactions say the rest.
 *
 *   swept as     this process ends it as      what is booked
 *   VOIDED       a settle                     a correction of the whole amount
 *   COMMITTED    a settle of another amount   a refund of what was charged, and a correction of the whole amount: together
 *                                             the difference, up or down, in one transaction
 *   COMMITTED    a void                       a refund of what was charged
 *
 * A call whose idempotency key another one has taken over pays nothing: neither is booked, and it must not be answered.
 * Everything else, a settle of the very amount and a charge that was refunded whole meanwhile, stays as it is; what was given
 * back in part is given back of the correction, too, and what a re-rating had debited on top is returned. A correction counts in no window: neither a VOIDED charge nor the part
 * that came late was admitted in one.
 */
@Injectable()
export class LateEndings {
  private readonly logger = new Logger(LateEndings.name);
  private readonly turns = new Turns(AT_ONCE);
  private readonly underWay = new Set<Promise<unknown>>();
  private isLeaving = false;

  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly writer: ChargeWriter,
    private readonly ledger: LedgerService,
    private readonly process: ProcessIdentity,
  ) {}

  /** Resolves when everything under way is booked or `withinMs` is over; from now on nothing is tried again. */
  async finish(withinMs: number): Promise<void> {
    this.isLeaving = true;
    await Promise.race([Promise.allSettled(this.underWay), pause(withinMs, undefined, { ref: false })]);
  }

  /** What stands of a charge that was found committed. Tried again until Postgres says so; rejects on the way out. */
  standing(holdId: string): Promise<StandingCharge> {
    return this.forward(`charge ${holdId} could not be read`, async () => {
      const [standing] = await this.ledger.committedHolds([holdId]);
      if (!standing) throw new Error(`charge ${holdId} is not committed`);
      return {
        ended: standing.ended,
        isSwept: standing.endReason === SWEPT_END_REASON,
        isTakenOver: standing.reversedFor === OWN_REASON_CODE.keyTakenOver,
      };
    });
  }

  /**
   * The sweeper voided the charge, yet the answer goes out: what it cost is booked beside it. Answers what to project;
   * undefined where another call has taken its key over, and left a VOIDED correction in the way.
   */
  async bookWhole(charge: FrozenCharge, fields: EndFields): Promise<PostedBalance | undefined> {
    const result = await this.writer.write(this.correctionRow(charge, fields));
    if (result.outcome !== 'committed' && result.outcome !== 'already_committed') return undefined;
    this.logger.error(`charge ${charge.hold.holdId} had been swept; its late settle was booked as a correction`);
    return result;
  }

  /** The sweeper charged what it knew: afterwards what the process knows is charged. Answers what to project. */
  bookDifference(charge: FrozenCharge, fields: EndFields): Promise<BookedDifference> {
    const { tenantId, holdId } = charge.hold;
    const refund: Refund = {
      tenantId,
      chargeId: holdId,
      reasonCode: REASON_CODE,
      description: `charge ${holdId} had been swept before its process ended it`,
    };
    const correct = async (client: PoolClient): Promise<BookedDifference> => {
      // Before any account: whoever raises the epoch waits for it and holds none.
      await client.query('select pg_advisory_xact_lock_shared(quota_fence())');
      const { isRepeat, givenBack, amount, transactionId } = await postRefund(client, refund);
      const reRated = await reRatedOf(client, holdId);
      if (!isRepeat) await returnDebits(client, refund, reRated.debited);
      if (!isRepeat && fields.is_commit) {
        const correction = this.correctionRow(charge, fields);
        const difference = await costBeyond(client, holdId, fields.upstream_cost_nano_usd);
        await client.query(`select * from billing_end($1::json)`, [
          JSON.stringify([{ ...correction, upstream_cost_nano_usd: difference }]),
        ]);
        const { credited } = reRated;
        const whole = { id: correction.id, amount: BigInt(correction.amount_nano_usd) };
        await carryOver(client, refund, whole, { back: givenBack - amount, credited });
      }
      const isTakenOver = isRepeat && (await isForTakenOverKey(client, transactionId));
      return { ...(await balanceNow(client, tenantId)), isTakenOver };
    };
    return this.forward(`charge ${holdId} had been swept and is still to be corrected`, async () => {
      const booked = await this.turns.run(() => withTransaction(this.pool, correct));
      if (!booked.isTakenOver) {
        this.logger.error(`charge ${holdId} had been swept; it was corrected to ${fields.amount_nano_usd} nano-USD`);
      }
      return booked;
    });
  }

  /** A charge was committed after all though its caller had given it up: the tenant gets the amount back. */
  async refundUnanswered(tenantId: string, holdId: string): Promise<void> {
    const refund = {
      tenantId,
      chargeId: holdId,
      reasonCode: OWN_REASON_CODE.unanswered,
      description: `charge ${holdId} was committed after its call had been answered with an error`,
    };
    await this.forward(`charge ${holdId} was not answered and is still to be refunded`, () =>
      this.ledger.refund(refund),
    ).catch(() => undefined);
  }

  /** Tried again until it stands or the process leaves: Postgres has just been away. Then it rejects, and has said so. */
  private forward<T>(whatIsDue: string, work: () => Promise<T>): Promise<T> {
    const attempts = async (): Promise<T> => {
      for (let attempt = 0; ; attempt += 1) {
        try {
          return await work();
        } catch (error) {
          if (this.isLeaving || error instanceof RefusalError || isRefusedData(error)) {
            this.logger.error(`${whatIsDue}: ${causeOf(error)}`);
            throw error;
          }
          if (attempt === 0) this.logger.warn(`${whatIsDue}, it is tried again: ${messageOf(error)}`);
        }
        await pause(retryPauseMs(attempt));
      }
    };
    const done = attempts();
    const tracked: Promise<unknown> = done.catch(() => undefined).finally(() => this.underWay.delete(tracked));
    this.underWay.add(tracked);
    return done;
  }

  private correctionRow(charge: FrozenCharge, fields: EndFields): EndRow {
    const row = admitRow(charge, this.process.id);
    return {
      ...row,
      ...fields,
      id: correctionIdOf(row.id),
      trace_id: correctionTraceIdOf(row.trace_id),
      type: 'correction',
      // Booked for the charge itself, by the ending that came too late.
      house_costs: null,
      reason_code: REASON_CODE,
      description: `late settle of charge ${row.id}`,
      original_transaction_id: row.id,
      is_new: true,
    };
  }
}

async function isForTakenOverKey(client: PoolClient, transactionId: string): Promise<boolean> {
  const { rows } = await client.query<{ reason_code: string | null }>(
    `select reason_code from billing_transaction where id = $1`,
    [transactionId],
  );
  return rows[0]?.reason_code === OWN_REASON_CODE.keyTakenOver;
}

/** What the upstream cost beyond what the charge says already; below 0 where that was too much. */
async function costBeyond(client: PoolClient, chargeId: string, costNanoUsd: string): Promise<string> {
  const { rows } = await client.query<{ cost: string }>(
    `select upstream_cost_nano_usd as cost from billing_transaction where id = $1`,
    [chargeId],
  );
  return (BigInt(costNanoUsd) - BigInt(rows[0]?.cost ?? 0)).toString();
}

/** A refusal's message is its code alone. */
function causeOf(error: unknown): string {
  const reason = error instanceof RefusalError ? error.refusal.values?.reason : undefined;
  return reason === undefined ? String(error) : `${String(error)}, ${reason}`;
}
