import type { PoolClient } from 'pg';
import { v5 } from 'uuid';
import { refuse, RefusalError } from '../../kernel/errors';
import { newId } from '../../kernel/ids';
import { isWithinTenantBound } from '../../kernel/money';
import {
  type Account,
  balanceNow,
  Booking,
  lockAccounts,
  MAX_PROMO_NANO_USD,
  type Posting,
  recordPosting,
  repaymentOf,
  type TenantAccounts,
} from './booking';
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
 * Refunds a COMMITTED charge in the caller's transaction: a linked transaction moves its amount revenue → the funding it was
 * frozen with, and the charge names it in `reversed_by`. Request counters stay as they are. Twice answers the first refund.
 * Throws RefusalError: NOT_FOUND (no such charge of this tenant), CONFLICT (it is not COMMITTED, or the tenant's accounts
 * have no room for so much).
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
  if (charge.reversed_by !== null) {
    return { transactionId: charge.reversed_by, ...(await balanceNow(client, refund.tenantId)), isRepeat: true };
  }
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
  await giveBack(client, new Booking(client, transactionId, refund.reasonCode), accounts, refund.chargeId);
  return { transactionId, ...(await balanceNow(client, refund.tenantId)), isRepeat: false };
}

/**
 * To the accounts the charge was taken from; what came from wallet and overrun repays overrun first. Promo may have been
 * filled up meanwhile: it takes what fits, the rest is the wallet's.
 */
async function giveBack(client: PoolClient, book: Booking, accounts: TenantAccounts, chargeId: string): Promise<void> {
  const { rows } = await client.query<{ account_id: string; amount: string }>(
    `select debit_account_id as account_id, amount_nano_usd as amount from ledger_transfer
      where transaction_id = $1 and kind = 'charge' order by id`,
    [chargeId],
  );
  const { wallet, promo, overrun } = accounts;
  let toWallet = 0n;
  for (const { account_id, amount } of rows) {
    if (account_id === wallet.id || account_id === overrun.id) toWallet += BigInt(amount);
    else if (account_id === promo?.id) toWallet += await fillPromo(book, promo, BigInt(amount));
    else await book.transfer('refund', HOUSE_ACCOUNT.revenue, account_id, BigInt(amount));
  }
  if (toWallet === 0n) return;
  const posted = BigInt(wallet.posted_nano_usd) + toWallet - repaymentOf(overrun, toWallet);
  if (!isWithinTenantBound(posted, BigInt(wallet.credit_limit_nano_usd))) {
    const reason = 'posted balance and credit limit together would exceed 9,000,000 USD';
    throw new RefusalError(refuse('CONFLICT', { values: { reason } }));
  }
  await book.credit('refund', HOUSE_ACCOUNT.revenue, accounts, toWallet);
}

/** Answers what does not fit. */
async function fillPromo(book: Booking, promo: Account, amount: bigint): Promise<bigint> {
  const room = MAX_PROMO_NANO_USD - BigInt(promo.posted_nano_usd);
  const fits = amount < room ? amount : room;
  if (fits > 0n) {
    await book.transfer('refund', HOUSE_ACCOUNT.revenue, promo, fits);
    await book.post(promo);
  }
  return amount - fits;
}
