import { Inject, Injectable } from '@nestjs/common';
import type { Pool, PoolClient } from 'pg';
import { v5 } from 'uuid';
import { refuse, RefusalError } from '../../kernel/errors';
import { newId } from '../../kernel/ids';
import { isWithinTenantBound, type NanoUsd, nanoUsd } from '../../kernel/money';
import { PG_POOL } from '../../platform/database/pg-pool';
import { withTransaction } from '../../platform/database/with-transaction';
import type { EndedHold, PostedBalance } from '../../quota/quota-store.port';
import { ProjectionQueue } from '../settlement/projection-queue';
import {
  type Account,
  balanceNow,
  Booking,
  lockAccounts,
  MAX_PROMO_NANO_USD,
  type Posting,
  promoAccount,
  recordPosting,
  repaymentOf,
  type TenantAccounts,
} from './booking';
import { HOUSE_ACCOUNT } from './house-accounts';
import { postRefund, type Refund, type RefundPosting } from './refund';

export interface Adjustment {
  readonly tenantId: string;
  /** Positive credits the wallet, negative debits it; never zero. */
  readonly amount: NanoUsd;
  readonly reasonCode: string;
  readonly description: string;
  /** Same key, same tenant: the first adjustment's answer, nothing posted twice. */
  readonly idempotencyKey: string;
  readonly actor: string;
  /** Promotional credit is spent first and never goes below zero. */
  readonly account?: 'wallet' | 'promo';
  /** The COMMITTED charge or correction of this tenant that it corrects. */
  readonly originalTransactionId?: string | undefined;
}

/** A committed charge as the projection is told of it, and why it ended. */
export interface CommittedHold {
  readonly ended: EndedHold;
  readonly endReason: string | null;
  /** Reason code of what gave back the last of it. */
  readonly reversedFor: string | null;
}

interface CommittedRow {
  readonly id: string;
  readonly amount: string;
  readonly tokens: string;
  readonly end_reason: string | null;
  readonly reversed_for: string | null;
}

/** Trace ids of adjustments derive from the idempotency key, so that a repeat collides on (tenant, trace id). */
const ADJUSTMENT_NAMESPACE = '2b0b6f0a-8f0a-4d1c-9a53-9d6fd4a1c1f7';

/** Posts what is not a charge: adjustments and refunds. */
@Injectable()
export class LedgerService {
  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly projection: ProjectionQueue,
  ) {}

  /** `post` in a transaction of its own, tried again where Postgres takes it back, and projected. */
  async adjust(adjustment: Adjustment): Promise<Posting> {
    const posted = await withTransaction(this.pool, (client) => this.post(client, adjustment));
    this.project(adjustment.tenantId, posted);
    return posted;
  }

  /**
   * Credits or debits a wallet against the house's `adjustment` account, in the caller's transaction. A credit first
   * repays what is in overrun. The tenant's accounts stay locked until that transaction ends; once it is committed, and
   * only then, the caller must call `project`.
   * Throws RefusalError: INVALID_REQUEST (zero, beyond ±9,000,000 USD, or for a charge that the tenant does not have),
   * NOT_FOUND, CONFLICT (the key was used for another amount or charge).
   */
  async post(client: PoolClient, adjustment: Adjustment): Promise<Posting> {
    if (adjustment.amount === 0n) throw refusedAmount('must not be zero');
    const accounts = await lockAccounts(client, adjustment.tenantId);
    const traceId = v5(`${adjustment.tenantId}:${adjustment.idempotencyKey}`, ADJUSTMENT_NAMESPACE);
    const repeated = await findRepeat(client, adjustment, traceId);
    if (repeated !== undefined) {
      return { transactionId: repeated, ...(await balanceNow(client, adjustment.tenantId)), isRepeat: true };
    }
    await requireOriginal(client, adjustment);
    const transactionId = newId();
    await recordPosting(client, {
      transactionId,
      tenantId: adjustment.tenantId,
      traceId,
      type: 'adjustment',
      amountNanoUsd: adjustment.amount.toString(),
      reasonCode: adjustment.reasonCode,
      description: `${adjustment.description} (by ${adjustment.actor})`,
      originalTransactionId: adjustment.originalTransactionId,
    });
    const book = new Booking(client, transactionId, adjustment.reasonCode);
    await (adjustment.account === 'promo'
      ? adjustPromo(client, book, adjustment, accounts)
      : adjustWallet(book, adjustment.amount, accounts));
    return { transactionId, ...(await balanceNow(client, adjustment.tenantId)), isRepeat: false };
  }

  /** What charges came to, of those that are committed. */
  async committedHolds(holdIds: readonly string[]): Promise<readonly CommittedHold[]> {
    const { rows } = await this.pool.query<CommittedRow>(
      `select id, amount_nano_usd as amount, end_reason,
              (select r.reason_code from billing_transaction r where r.id = b.reversed_by) as reversed_for,
              tokens_input_uncached + tokens_input_cached + tokens_cache_write + tokens_output + tokens_reasoning
                + tokens_audio + tokens_image as tokens
         from billing_transaction b where id = any ($1) and status = 'COMMITTED'`,
      [holdIds],
    );
    return rows.map(({ id, amount, tokens, end_reason, reversed_for }) => ({
      ended: { holdId: id, amount: nanoUsd(amount), tokens: Number(tokens) },
      endReason: end_reason,
      reversedFor: reversed_for,
    }));
  }

  /** `postRefund` in a transaction of its own, tried again where Postgres takes it back, and projected. */
  async refund(refund: Refund): Promise<RefundPosting> {
    const posted = await withTransaction(this.pool, (client) => postRefund(client, refund));
    this.project(refund.tenantId, posted);
    return posted;
  }

  /** Tells the projection of a posting that is committed; twice is harmless. */
  project(tenantId: string, posted: PostedBalance): void {
    this.projection.tell(tenantId, posted);
  }
}

async function adjustWallet(book: Booking, amount: NanoUsd, { wallet, overrun }: TenantAccounts): Promise<void> {
  const repaid = amount > 0n ? repaymentOf(overrun, amount) : 0n;
  assertWithinBound(wallet, amount - repaid);
  if (amount > 0n) {
    await book.credit('adjustment', HOUSE_ACCOUNT.adjustment, { wallet, overrun }, amount);
    return;
  }
  await book.transfer('adjustment', wallet, HOUSE_ACCOUNT.adjustment, 0n - amount);
  await book.post(wallet);
}

async function adjustPromo(
  client: PoolClient,
  book: Booking,
  { tenantId, amount }: Adjustment,
  accounts: TenantAccounts,
): Promise<void> {
  const promo = await promoAccount(client, tenantId, accounts);
  const after = BigInt(promo.posted_nano_usd) + amount;
  if (after < 0n || after > MAX_PROMO_NANO_USD) {
    throw refusedAmount('promotional credit must stay between 0 and 7,000 USD');
  }
  if (amount > 0n) await book.transfer('adjustment', HOUSE_ACCOUNT.adjustment, promo, amount);
  else await book.transfer('adjustment', promo, HOUSE_ACCOUNT.adjustment, 0n - amount);
  await book.post(promo);
}

async function findRepeat(client: PoolClient, adjustment: Adjustment, traceId: string): Promise<string | undefined> {
  const { rows } = await client.query<{ id: string; amount_nano_usd: string; original_id: string | null }>(
    `select id, amount_nano_usd, original_transaction_id as original_id from billing_transaction
      where tenant_id = $1 and trace_id = $2`,
    [adjustment.tenantId, traceId],
  );
  const [found] = rows;
  if (!found) return undefined;
  if (BigInt(found.amount_nano_usd) !== adjustment.amount) throw refusedKey('the key was used for another amount');
  if (found.original_id !== (adjustment.originalTransactionId ?? null)) {
    throw refusedKey('the key was used for another charge');
  }
  return found.id;
}

async function requireOriginal(client: PoolClient, { tenantId, originalTransactionId }: Adjustment): Promise<void> {
  if (originalTransactionId === undefined) return;
  const { rowCount } = await client.query(
    `select from billing_transaction
      where id = $1 and tenant_id = $2 and type in ('charge', 'correction') and status = 'COMMITTED'`,
    [originalTransactionId, tenantId],
  );
  if (rowCount === 1) return;
  const reason = 'the tenant has no committed charge of this id';
  throw new RefusalError(refuse('INVALID_REQUEST', { param: 'original_transaction_id', values: { reason } }));
}

function refusedKey(reason: string): RefusalError {
  return new RefusalError(refuse('CONFLICT', { param: 'Idempotency-Key', values: { reason } }));
}

function assertWithinBound(wallet: Account, change: bigint): void {
  const after = BigInt(wallet.posted_nano_usd) + change;
  if (!isWithinTenantBound(after, BigInt(wallet.credit_limit_nano_usd))) {
    throw refusedAmount('posted balance and credit limit together must stay within ±9,000,000 USD');
  }
}

function refusedAmount(reason: string): RefusalError {
  return new RefusalError(refuse('INVALID_REQUEST', { param: 'amount_usd', values: { reason } }));
}
