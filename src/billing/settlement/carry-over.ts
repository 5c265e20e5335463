import type { PoolClient } from 'pg';
import { v5 } from 'uuid';
import { newId } from '../../kernel/ids';
import { least, nanoUsd } from '../../kernel/money';
import { Booking, lockAccounts, recordPosting } from '../ledger/booking';
import { giveBack, lockCharge } from '../ledger/giving-back';
import { HOUSE_ACCOUNT } from '../ledger/house-accounts';
import { OWN_REASON_CODE } from '../ledger/reason-codes';
import { postRefund, type Refund } from '../ledger/refund';

/** Trace ids derive from the charge's id, so that carrying over twice collides. */
const CARRY_OVER_NAMESPACE = '3b0f6a5e-90c4-4d0b-b6f5-7e1d2a9c8f40';

/** What re-ratings have booked for a charge, nano-USD, both ≥ 0. */
export interface ReRated {
  readonly credited: bigint;
  readonly debited: bigint;
}

export async function reRatedOf(client: PoolClient, chargeId: string): Promise<ReRated> {
  const { rows } = await client.query<{ credited: string; debited: string }>(
    `select coalesce(sum(amount_nano_usd) filter (where type = 'credit_note'), 0) as credited,
            coalesce(-sum(amount_nano_usd) filter (where type = 'adjustment'), 0) as debited
       from billing_transaction where original_transaction_id = $1 and reason_code = $2`,
    [chargeId, OWN_REASON_CODE.reRated],
  );
  return { credited: BigInt(rows[0]?.credited ?? 0), debited: BigInt(rows[0]?.debited ?? 0) };
}

/** A charge that is taken back whole costs nothing: what re-ratings had debited on top of it goes back, too. */
export async function returnDebits(client: PoolClient, refund: Refund, debited: bigint): Promise<void> {
  if (debited <= 0n) return;
  const accounts = await lockAccounts(client, refund.tenantId);
  const transactionId = newId();
  await recordPosting(client, {
    transactionId,
    tenantId: refund.tenantId,
    traceId: v5(`debits:${refund.chargeId}`, CARRY_OVER_NAMESPACE),
    type: 'adjustment',
    amountNanoUsd: debited.toString(),
    reasonCode: OWN_REASON_CODE.reRated,
    description: refund.description,
    originalTransactionId: refund.chargeId,
  });
  await new Booking(client, transactionId, OWN_REASON_CODE.reRated).credit(
    'adjustment',
    HOUSE_ACCOUNT.revenue,
    accounts,
    debited,
  );
}

/**
 * What had been given back of the charge before stays given back: of the correction, which takes its place. What a re-rating
 * credited stays a credit note of a re-rating, so that the next one counts it and does not give it back once more.
 */
export async function carryOver(
  client: PoolClient,
  refund: Refund,
  correction: { readonly id: string; readonly amount: bigint },
  given: { readonly back: bigint; readonly credited: bigint },
): Promise<void> {
  const amount = least(given.back, correction.amount);
  const credited = least(given.credited, amount);
  if (credited > 0n) {
    const accounts = await lockAccounts(client, refund.tenantId);
    await giveBack(client, accounts, await lockCharge(client, refund.tenantId, correction.id), {
      type: 'credit_note',
      amount: credited,
      traceId: v5(`credits:${refund.chargeId}`, CARRY_OVER_NAMESPACE),
      reasonCode: OWN_REASON_CODE.reRated,
      description: refund.description,
    });
  }
  if (amount === credited) return;
  const idempotencyKey = `carried-over:${refund.chargeId}`;
  await postRefund(client, {
    ...refund,
    chargeId: correction.id,
    amount: nanoUsd(amount - credited),
    idempotencyKey,
  });
}
