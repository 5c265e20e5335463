import type { PoolClient } from 'pg';
import { refuse, RefusalError } from '../../kernel/errors';
import { newId } from '../../kernel/ids';
import { isWithinTenantBound, least } from '../../kernel/money';
import { Booking, MAX_PROMO_NANO_USD, recordPosting, repaymentOf, type TenantAccounts } from './booking';
import { HOUSE_ACCOUNT } from './house-accounts';
import { TRANSFERS_OF } from './transfers-of';

/** A COMMITTED charge or correction, locked until the transaction ends. */
export interface CommittedCharge {
  readonly id: string;
  readonly tenantId: string;
  readonly funding: string;
  readonly amount: bigint;
  /** What refunds and credit notes have given back of the amount. */
  readonly givenBack: bigint;
  /** Which of them gave back the last of it. */
  readonly reversedBy: string | null;
}

/** A part of a charge that goes back to who paid it. */
export interface GiveBack {
  readonly type: 'refund' | 'credit_note';
  /** At most what is left of the charge; 0 only where the charge itself came to 0. */
  readonly amount: bigint;
  readonly traceId: string;
  readonly reasonCode: string;
  readonly description: string;
}

interface ChargeRow {
  readonly status: string;
  readonly funding: string;
  readonly amount_nano_usd: string;
  readonly refunded_nano_usd: string;
  readonly reversed_by: string | null;
}

/**
 * Under the tenant's accounts, as every writer of money locks them. Throws RefusalError: NOT_FOUND (the tenant has no such
 * charge), CONFLICT (it is not COMMITTED).
 */
export async function lockCharge(client: PoolClient, tenantId: string, chargeId: string): Promise<CommittedCharge> {
  const { rows } = await client.query<ChargeRow>(
    `select status, funding, amount_nano_usd, refunded_nano_usd, reversed_by from billing_transaction
      where tenant_id = $1 and id = $2 and type in ('charge', 'correction') for update`,
    [tenantId, chargeId],
  );
  const [row] = rows;
  if (!row) throw new RefusalError(refuse('NOT_FOUND', { values: { what: 'charge' } }));
  if (row.status !== 'COMMITTED') throw conflict(`the charge is ${row.status}`);
  return {
    id: chargeId,
    tenantId,
    funding: row.funding,
    amount: BigInt(row.amount_nano_usd),
    givenBack: BigInt(row.refunded_nano_usd),
    reversedBy: row.reversed_by,
  };
}

/**
 * Gives a part of a charge back in the caller's transaction, and answers the id of what was booked: a linked transaction that
 * moves it revenue → the accounts that paid. What was taken last goes back first: overrun, then the wallet, then promo. How
 * much has gone back before says where this part begins, so no account ever gets more than it gave, however many parts there
 * are. What belongs to wallet and overrun repays overrun first, as every credit does; what promo, filled up meanwhile, has
 * no room for is the wallet's. Windows stay as they are.
 * Throws RefusalError, CONFLICT, before anything is written: no account has room for so much, or the transfers of the charge
 * are no longer kept.
 */
export async function giveBack(
  client: PoolClient,
  accounts: TenantAccounts,
  charge: CommittedCharge,
  { type, amount, traceId, reasonCode, description }: GiveBack,
): Promise<string> {
  const shares = sharesOf(await takenBy(client, charge, accounts), charge.givenBack, amount, accounts);
  refuseWithoutRoom(accounts, shares);
  const transactionId = newId();
  await recordPosting(client, {
    transactionId,
    tenantId: charge.tenantId,
    traceId,
    type,
    amountNanoUsd: amount.toString(),
    reasonCode,
    description,
    originalTransactionId: charge.id,
    funding: charge.funding,
  });
  await client.query(
    `update billing_transaction set refunded_nano_usd = refunded_nano_usd + $2,
            reversed_by = case when refunded_nano_usd + $2 = amount_nano_usd then $3::uuid end
      where id = $1`,
    [charge.id, amount.toString(), transactionId],
  );
  const book = new Booking(client, transactionId, reasonCode);
  for (const { accountId, share } of shares.house) {
    await book.transfer(type, HOUSE_ACCOUNT.revenue, accountId, share);
  }
  if (accounts.promo && shares.promo > 0n) {
    await book.transfer(type, HOUSE_ACCOUNT.revenue, accounts.promo, shares.promo);
    await book.post(accounts.promo);
  }
  if (shares.wallet > 0n) await book.credit(type, HOUSE_ACCOUNT.revenue, accounts, shares.wallet);
  return transactionId;
}

interface Taken {
  readonly accountId: string;
  readonly amount: bigint;
}

/** From each account, the last one first. */
async function takenBy(client: PoolClient, charge: CommittedCharge, accounts: TenantAccounts): Promise<Taken[]> {
  const { rows } = await client.query<{ account_id: string; amount: string }>(
    `select t.debit_account_id as account_id, t.amount_nano_usd as amount
       from billing_transaction c join ledger_transfer t on ${TRANSFERS_OF} and t.kind = 'charge' where c.id = $1`,
    [charge.id],
  );
  const order = [accounts.overrun.id, accounts.wallet.id, accounts.promo?.id];
  const taken = rows
    .map(({ account_id, amount }) => ({ accountId: account_id, amount: BigInt(amount) }))
    .sort((a, b) => order.indexOf(a.accountId) - order.indexOf(b.accountId));
  const total = taken.reduce((sum, { amount }) => sum + amount, 0n);
  if (total !== charge.amount) throw conflict('the transfers of the charge are no longer kept');
  return taken;
}

interface Shares {
  readonly wallet: bigint;
  readonly promo: bigint;
  readonly house: readonly { readonly accountId: string; readonly share: bigint }[];
}

function sharesOf(taken: readonly Taken[], givenBack: bigint, amount: bigint, accounts: TenantAccounts): Shares {
  let [before, left, wallet, promo] = [givenBack, amount, 0n, 0n];
  const house = [];
  for (const { accountId, amount: took } of taken) {
    const had = least(took, before);
    before -= had;
    const share = least(took - had, left);
    left -= share;
    if (share === 0n) continue;
    if (accountId === accounts.promo?.id) promo += share;
    else if (accountId === accounts.wallet.id || accountId === accounts.overrun.id) wallet += share;
    else house.push({ accountId, share });
  }
  const room = MAX_PROMO_NANO_USD - BigInt(accounts.promo?.posted_nano_usd ?? 0);
  const fits = least(promo, room);
  return { wallet: wallet + promo - fits, promo: fits, house };
}

function refuseWithoutRoom({ wallet, overrun }: TenantAccounts, shares: Shares): void {
  const posted = BigInt(wallet.posted_nano_usd) + shares.wallet - repaymentOf(overrun, shares.wallet);
  if (!isWithinTenantBound(posted, BigInt(wallet.credit_limit_nano_usd))) {
    throw conflict('posted balance and credit limit together would exceed 9,000,000 USD');
  }
}

function conflict(reason: string): RefusalError {
  return new RefusalError(refuse('CONFLICT', { values: { reason } }));
}
