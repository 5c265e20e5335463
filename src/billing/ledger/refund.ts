import type { PoolClient } from 'pg';
import { v5 } from 'uuid';
import { refuse, RefusalError } from '../../kernel/errors';
import { newId } from '../../kernel/ids';
import { nanoUsd } from '../../kernel/money';
import { Booking, lockAccounts, type Posting, recordPosting } from './booking';
import { HOUSE_ACCOUNT } from './house-accounts';

/** Everything a charge took and nobody gave back yet. */
export interface Refund {
  readonly tenantId: string;
  readonly chargeId: string;
  readonly reasonCode: string;
  readonly description: string;
}

/** Ids of refunds derive from the charge's id, so that refunding one twice collides. */
const REFUND_NAMESPACE = 'a5d0f0b1-6c47-4f0e-8d2b-2f6a4f3b7c19';

/**
 * Refunds a COMMITTED charge in the caller's transaction: a linked transaction moves its amount revenue → wallet, and the
 * charge names it in `reversed_by`. Request counters stay as they are. Twice answers the first refund.
 * Throws RefusalError: NOT_FOUND (no such charge of this tenant), CONFLICT (it is not COMMITTED).
 */
export async function postRefund(client: PoolClient, refund: Refund): Promise<Posting> {
  const accounts = await lockAccounts(client, refund.tenantId);
  const { rows } = await client.query<{ status: string; amount_nano_usd: string; reversed_by: string | null }>(
    `select status, amount_nano_usd, reversed_by from billing_transaction
      where tenant_id = $1 and id = $2 and type in ('charge', 'correction') for update`,
    [refund.tenantId, refund.chargeId],
  );
  const [charge] = rows;
  if (!charge) throw new RefusalError(refuse('NOT_FOUND', { values: { what: 'charge' } }));
  if (charge.status !== 'COMMITTED') {
    throw new RefusalError(refuse('CONFLICT', { values: { reason: `the charge is ${charge.status}` } }));
  }
  const balance = { posted: nanoUsd(accounts.wallet.posted_nano_usd), version: BigInt(accounts.wallet.version) };
  if (charge.reversed_by !== null) return { transactionId: charge.reversed_by, ...balance, isRepeat: true };
  const transactionId = newId();
  await recordPosting(client, {
    transactionId,
    tenantId: refund.tenantId,
    traceId: v5(refund.chargeId, REFUND_NAMESPACE),
    type: 'refund',
    amountNanoUsd: charge.amount_nano_usd,
    reasonCode: refund.reasonCode,
    description: refund.description,
  });
  await client.query(
    `update billing_transaction set refunded_nano_usd = amount_nano_usd, reversed_by = $2 where id = $1`,
    [refund.chargeId, transactionId],
  );
  const amount = BigInt(charge.amount_nano_usd);
  if (amount === 0n) return { transactionId, ...balance, isRepeat: false };
  const book = new Booking(client, transactionId, refund.reasonCode);
  return {
    transactionId,
    ...(await book.credit('refund', HOUSE_ACCOUNT.revenue, accounts, amount)),
    isRepeat: false,
  };
}
