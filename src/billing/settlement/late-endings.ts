import { setTimeout as pause } from 'node:timers/promises';
import { Inject, Injectable, Logger } from '@nestjs/common';
import type { Pool, PoolClient } from 'pg';
import { v5 } from 'uuid';
import { messageOf } from '../../kernel/error-message';
import { RefusalError } from '../../kernel/errors';
import { nanoUsd } from '../../kernel/money';
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

/** Ids of late-settle corrections derive from the charge's id, so that booking one twice collides. */
const CORRECTION_NAMESPACE = '6f1c2a9e-6b5d-4a57-9a0e-0d7f0e9a4b11';
const REASON_CODE = OWN_REASON_CODE.lateSettle;
/** Transactions at once: a process that was paused may have to correct all its streams, on the hot path's connections. */
const AT_ONCE = 3;

/** What stands of a charge that somebody has committed. */
export interface StandingCharge {
  readonly ended: EndedHold;
  /** The sweeper took its process for dead and charged what it knew; else it was this process itself. */
  readonly isSwept: boolean;
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
 * Everything else, a settle of the very amount and a charge that was refunded whole meanwhile, stays as it is; what was
 * refunded in part is refunded of the correction, too. A correction counts in no window: neither a VOIDED charge nor the part
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
      return { ended: standing.ended, isSwept: standing.endReason === SWEPT_END_REASON };
    });
  }

  /** The sweeper voided the charge, yet the answer went out: what it cost is booked beside it. Answers what to project. */
  async bookWhole(charge: FrozenCharge, fields: EndFields): Promise<PostedBalance> {
    const result = await this.writer.write(this.correctionRow(charge, fields));
    this.logger.error(`charge ${charge.hold.holdId} had been swept; its late settle was booked as a correction`);
    return result;
  }

  /** The sweeper charged what it knew: afterwards what the process knows is charged. Answers what to project. */
  bookDifference(charge: FrozenCharge, fields: EndFields): Promise<PostedBalance> {
    const { tenantId, holdId } = charge.hold;
    const refund: Refund = {
      tenantId,
      chargeId: holdId,
      reasonCode: REASON_CODE,
      description: `charge ${holdId} had been swept before its process ended it`,
    };
    const correct = async (client: PoolClient): Promise<PostedBalance> => {
      // Before any account: whoever raises the epoch waits for it and holds none.
      await client.query('select pg_advisory_xact_lock_shared(quota_fence())');
      const { isRepeat, givenBack, amount } = await postRefund(client, refund);
      if (!isRepeat && fields.is_commit) {
        const correction = this.correctionRow(charge, fields);
        const difference = await costBeyond(client, holdId, fields.upstream_cost_nano_usd);
        await client.query(`select * from billing_end($1::json)`, [
          JSON.stringify([{ ...correction, upstream_cost_nano_usd: difference }]),
        ]);
        await carryOver(client, refund, correction, givenBack - amount);
      }
      return balanceNow(client, tenantId);
    };
    return this.forward(`charge ${holdId} had been swept and is still to be corrected`, async () => {
      const balance = await this.turns.run(() => withTransaction(this.pool, correct));
      this.logger.error(`charge ${holdId} had been swept; it was corrected to ${fields.amount_nano_usd} nano-USD`);
      return balance;
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
      id: v5(row.id, CORRECTION_NAMESPACE),
      trace_id: v5(row.trace_id, CORRECTION_NAMESPACE),
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

/** What had been given back of the charge before stays given back: of the correction, which takes its place. */
async function carryOver(client: PoolClient, refund: Refund, correction: EndRow, givenBack: bigint): Promise<void> {
  const charged = BigInt(correction.amount_nano_usd);
  const amount = nanoUsd(givenBack < charged ? givenBack : charged);
  if (amount === 0n) return;
  const idempotencyKey = `carried-over:${refund.chargeId}`;
  await postRefund(client, { ...refund, chargeId: correction.id, amount, idempotencyKey });
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
