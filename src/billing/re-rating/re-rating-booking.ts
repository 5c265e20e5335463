import type { PoolClient } from 'pg';
import { v5 } from 'uuid';
import { RefusalError } from '../../kernel/errors';
import { newId } from '../../kernel/ids';
import { least } from '../../kernel/money';
import type { PostedBalance } from '../../quota/quota-store.port';
import { balanceNow, Booking, lockAccounts, recordPosting } from '../ledger/booking';
import { type CommittedCharge, giveBack, lockCharge } from '../ledger/giving-back';
import { HOUSE_ACCOUNT } from '../ledger/house-accounts';
import { OWN_REASON_CODE } from '../ledger/reason-codes';
import { IS_REFUNDED, RATED_NANO_USD } from './rated';

/** Trace ids derive from re-rating and charge, so that booking a line twice collides. */
const RE_RATING_NAMESPACE = '1f4e0d52-9a0b-4a5e-8a41-7f0f4d1f5c3d';
/** Of one tenant in one transaction: its calls wait meanwhile. */
const LINES_AT_ONCE = 20;

export interface BookedLines {
  readonly tenantId: string;
  readonly lines: number;
  /** To be projected once the transaction is committed. */
  readonly balance: PostedBalance;
}

interface Line {
  readonly charge_id: string;
  readonly old_price_version: string | null;
  readonly new_price_version: string;
  readonly re_rated: string;
  readonly due: string;
}

/**
 * Books the next lines of a plan, all of one tenant, in the caller's transaction; undefined where none is left. Of each line
 * at most what is due: less where the charge was given back, or rated anew, since it was planned; no debit of one that was
 * refunded whole.
 */
export async function bookNextLines(client: PoolClient, reRatingId: string): Promise<BookedLines | undefined> {
  const next = await client.query<{ tenant_id: string }>(
    `select tenant_id from re_rating_line
      where re_rating_id = $1 and booked_nano_usd is null and due_nano_usd <> 0 order by tenant_id limit 1`,
    [reRatingId],
  );
  const tenantId = next.rows[0]?.tenant_id;
  if (tenantId === undefined) return undefined;
  // Who books beside us has waited for the accounts, too: the lines that are still unbooked now are ours.
  await lockAccounts(client, tenantId);
  const { rows } = await client.query<Line>(LINES, [reRatingId, tenantId]);
  for (const line of rows) await bookLine(client, { reRatingId, tenantId, line });
  return { tenantId, lines: rows.length, balance: await balanceNow(client, tenantId) };
}

interface LineOf {
  readonly reRatingId: string;
  readonly tenantId: string;
  readonly line: Line;
}

/** A refusal comes before anything is written: the line says so, and the others go on. */
async function bookLine(client: PoolClient, of: LineOf): Promise<void> {
  let booked: Booked;
  try {
    booked = await book(client, of);
  } catch (error) {
    if (!(error instanceof RefusalError)) throw error;
    booked = { amount: 0n, refusal: String(error.refusal.values?.reason ?? error.refusal.code) };
  }
  await client.query(
    `update re_rating_line set booked_nano_usd = $3, transaction_id = $4, refusal = $5
      where re_rating_id = $1 and charge_id = $2`,
    [of.reRatingId, of.line.charge_id, booked.amount.toString(), booked.transactionId ?? null, booked.refusal ?? null],
  );
}

interface Booked {
  readonly amount: bigint;
  readonly transactionId?: string;
  readonly refusal?: string;
}

async function book(client: PoolClient, { reRatingId, tenantId, line }: LineOf): Promise<Booked> {
  const accounts = await lockAccounts(client, tenantId);
  const charge = await lockCharge(client, tenantId, line.charge_id);
  const { rated, isRefunded } = await standingOf(client, charge);
  const tooMuch = rated - BigInt(line.re_rated);
  const due = BigInt(line.due);
  const record = {
    traceId: v5(`${reRatingId}:${charge.id}`, RE_RATING_NAMESPACE),
    reasonCode: OWN_REASON_CODE.reRated,
    description: `re-rated from price ${line.old_price_version ?? 'none'} to ${line.new_price_version} (${reRatingId})`,
  };
  if (due > 0n) {
    const amount = leastAbove0(due, tooMuch, charge.amount - charge.givenBack);
    if (amount === 0n) return { amount };
    const transactionId = await giveBack(client, accounts, charge, { ...record, type: 'credit_note', amount });
    return { amount, transactionId };
  }
  const debit = isRefunded ? 0n : leastAbove0(-due, -tooMuch);
  if (debit === 0n) return { amount: 0n };
  const transactionId = newId();
  await recordPosting(client, {
    ...record,
    transactionId,
    tenantId,
    type: 'adjustment',
    amountNanoUsd: (-debit).toString(),
    originalTransactionId: charge.id,
  });
  await new Booking(client, transactionId, record.reasonCode).debit(
    'adjustment',
    HOUSE_ACCOUNT.revenue,
    accounts,
    debit,
  );
  return { amount: -debit, transactionId };
}

interface Standing {
  readonly rated: bigint;
  readonly isRefunded: boolean;
}

async function standingOf(client: PoolClient, charge: CommittedCharge): Promise<Standing> {
  const { rows } = await client.query<{ rated: string; is_refunded: boolean }>(
    `select ${RATED_NANO_USD} as rated, ${IS_REFUNDED} as is_refunded from billing_transaction c where c.id = $1`,
    [charge.id],
  );
  return { rated: BigInt(rows[0]?.rated ?? 0), isRefunded: rows[0]?.is_refunded === true };
}

function leastAbove0(first: bigint, ...rest: bigint[]): bigint {
  const amount = least(first, ...rest);
  return amount > 0n ? amount : 0n;
}

const LINES = `
select l.charge_id, l.old_price_version, r.price_version as new_price_version, l.re_rated_nano_usd as re_rated,
       l.due_nano_usd as due
  from re_rating_line l join re_rating r on r.id = l.re_rating_id
 where l.re_rating_id = $1 and l.tenant_id = $2 and l.booked_nano_usd is null and l.due_nano_usd <> 0
 order by l.charge_id limit ${LINES_AT_ONCE} for update of l`;
