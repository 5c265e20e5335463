import { Inject, Injectable } from '@nestjs/common';
import type { Pool, PoolClient } from 'pg';
import { v5 } from 'uuid';
import { refuse, RefusalError } from '../../kernel/errors';
import { newId } from '../../kernel/ids';
import { MAX_TENANT_NANO_USD, type NanoUsd, nanoUsd } from '../../kernel/money';
import { PG_POOL } from '../../platform/database/pg-pool';
import { withTransaction } from '../../platform/database/with-transaction';
import { ProjectionQueue } from '../settlement/projection-queue';
import { HOUSE_ACCOUNT } from './house-accounts';

export interface Adjustment {
  readonly tenantId: string;
  /** Positive credits the wallet, negative debits it; never zero. */
  readonly amount: NanoUsd;
  readonly reasonCode: string;
  readonly description: string;
  /** Same key, same tenant: the first adjustment's answer, nothing posted twice. */
  readonly idempotencyKey: string;
  readonly actor: string;
}

export interface PostedAdjustment {
  readonly transactionId: string;
  readonly posted: NanoUsd;
  readonly version: bigint;
  /** An earlier posting answered: nothing was written. Balance and version are those of now. */
  readonly isRepeat: boolean;
}

interface Account {
  readonly id: string;
  readonly name: string;
  readonly posted_nano_usd: string;
  readonly credit_limit_nano_usd: string;
  readonly version: string;
}

/** Trace ids of adjustments derive from the idempotency key, so that a repeat collides on (tenant, trace id). */
const ADJUSTMENT_NAMESPACE = '2b0b6f0a-8f0a-4d1c-9a53-9d6fd4a1c1f7';

/** Posts what is not a charge: adjustments now; recharges and refunds take the same road. */
@Injectable()
export class LedgerService {
  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly projection: ProjectionQueue,
  ) {}

  /** `post` in a transaction of its own, tried again where Postgres takes it back, and projected. */
  async adjust(adjustment: Adjustment): Promise<PostedAdjustment> {
    const posted = await withTransaction(this.pool, (client) => this.post(client, adjustment));
    this.project(adjustment.tenantId, posted);
    return posted;
  }

  /**
   * Credits or debits a wallet against the house's `adjustment` account, in the caller's transaction. A credit first
   * repays what is in overrun. The tenant's accounts stay locked until that transaction ends; once it is committed, and
   * only then, the caller must call `project`.
   * Throws RefusalError: INVALID_REQUEST (zero, or beyond ±9,000,000 USD), NOT_FOUND, CONFLICT (the key was used for
   * another amount).
   */
  async post(client: PoolClient, adjustment: Adjustment): Promise<PostedAdjustment> {
    if (adjustment.amount === 0n) throw refusedAmount('must not be zero');
    const { wallet, overrun } = await lockAccounts(client, adjustment.tenantId);
    const traceId = v5(`${adjustment.tenantId}:${adjustment.idempotencyKey}`, ADJUSTMENT_NAMESPACE);
    const repeated = await findRepeat(client, adjustment, traceId);
    if (repeated !== undefined) {
      const posted = nanoUsd(wallet.posted_nano_usd);
      return { transactionId: repeated, posted, version: BigInt(wallet.version), isRepeat: true };
    }
    const owed = -BigInt(overrun.posted_nano_usd);
    const repaid = adjustment.amount > 0n ? smaller(owed, adjustment.amount) : 0n;
    assertWithinBound(wallet, adjustment.amount - repaid);
    const transactionId = newId();
    await insertTransaction(client, adjustment, transactionId, traceId);
    const book = new Booking(client, transactionId, adjustment.reasonCode);
    if (adjustment.amount > 0n) {
      await book.transfer('adjustment', HOUSE_ACCOUNT.adjustment, wallet, adjustment.amount);
    } else {
      await book.transfer('adjustment', wallet, HOUSE_ACCOUNT.adjustment, 0n - adjustment.amount);
    }
    if (repaid > 0n) await book.transfer('overrun_repayment', wallet, overrun, repaid);
    const balance = await book.post(wallet);
    if (repaid > 0n) await book.post(overrun);
    return { transactionId, ...balance, isRepeat: false };
  }

  /** Tells the projection of a posting that is committed; twice is harmless. */
  project(tenantId: string, posted: PostedAdjustment): void {
    // The hold id is the transaction's own: no hold has it, so only posted balance and version are projected.
    this.projection.settle(tenantId, posted.transactionId, posted);
  }
}

/** Transfers of one transaction, and the versions they give the accounts that take part. */
class Booking {
  private readonly changes = new Map<string, { posted: bigint; version: bigint }>();

  constructor(
    private readonly client: PoolClient,
    private readonly transactionId: string,
    private readonly reasonCode: string,
  ) {}

  /** House accounts are given by id alone: they keep no balance and no version. */
  async transfer(kind: string, debit: Account | string, credit: Account | string, amount: bigint): Promise<void> {
    await this.client.query(
      `insert into ledger_transfer (kind, transaction_id, debit_account_id, credit_account_id, amount_nano_usd,
                                    debit_version, credit_version, reason_code)
         values ($1, $2, $3, $4, $5, $6, $7, $8)`,
      [
        kind,
        this.transactionId,
        typeof debit === 'string' ? debit : debit.id,
        typeof credit === 'string' ? credit : credit.id,
        amount.toString(),
        this.move(debit, -amount),
        this.move(credit, amount),
        this.reasonCode,
      ],
    );
  }

  async post(account: Account): Promise<{ posted: NanoUsd; version: bigint }> {
    const { posted, version } = this.changeOf(account);
    await this.client.query(`update ledger_account set posted_nano_usd = $2, version = $3 where id = $1`, [
      account.id,
      posted.toString(),
      version.toString(),
    ]);
    return { posted: nanoUsd(posted), version };
  }

  private move(account: Account | string, amount: bigint): string | null {
    if (typeof account === 'string') return null;
    const change = this.changeOf(account);
    change.posted += amount;
    change.version += 1n;
    return change.version.toString();
  }

  private changeOf(account: Account): { posted: bigint; version: bigint } {
    let change = this.changes.get(account.id);
    if (!change) {
      change = { posted: BigInt(account.posted_nano_usd), version: BigInt(account.version) };
      this.changes.set(account.id, change);
    }
    return change;
  }
}

/** Locks both accounts in the order of their ids, as every writer of money does, until the transaction ends. */
async function lockAccounts(client: PoolClient, tenantId: string): Promise<{ wallet: Account; overrun: Account }> {
  const { rows } = await client.query<Account>(
    `select id, name, posted_nano_usd, credit_limit_nano_usd, version from ledger_account
      where tenant_id = $1 and name in ('wallet', 'overrun') order by id for update`,
    [tenantId],
  );
  const wallet = rows.find((account) => account.name === 'wallet');
  const overrun = rows.find((account) => account.name === 'overrun');
  if (!wallet || !overrun) throw new RefusalError(refuse('NOT_FOUND', { values: { what: 'tenant' } }));
  return { wallet, overrun };
}

async function findRepeat(client: PoolClient, adjustment: Adjustment, traceId: string): Promise<string | undefined> {
  const { rows } = await client.query<{ id: string; amount_nano_usd: string }>(
    `select id, amount_nano_usd from billing_transaction where tenant_id = $1 and trace_id = $2`,
    [adjustment.tenantId, traceId],
  );
  const [found] = rows;
  if (!found) return undefined;
  if (BigInt(found.amount_nano_usd) !== adjustment.amount) {
    const reason = 'the key was used for another amount';
    throw new RefusalError(refuse('CONFLICT', { param: 'Idempotency-Key', values: { reason } }));
  }
  return found.id;
}

async function insertTransaction(
  client: PoolClient,
  adjustment: Adjustment,
  transactionId: string,
  traceId: string,
): Promise<void> {
  await client.query(
    `insert into billing_transaction (id, tenant_id, trace_id, type, status, channel, amount_nano_usd, reason_code,
                                      description, ended_at)
       values ($1, $2, $3, 'adjustment', 'COMMITTED', 'admin', $4, $5, $6, now())`,
    [
      transactionId,
      adjustment.tenantId,
      traceId,
      adjustment.amount.toString(),
      adjustment.reasonCode,
      `${adjustment.description} (by ${adjustment.actor})`,
    ],
  );
}

function assertWithinBound(wallet: Account, change: bigint): void {
  const after = BigInt(wallet.posted_nano_usd) + change;
  const magnitude = (after < 0n ? -after : after) + BigInt(wallet.credit_limit_nano_usd);
  if (magnitude > MAX_TENANT_NANO_USD) {
    throw refusedAmount('posted balance and credit limit together must stay within ±9,000,000 USD');
  }
}

function refusedAmount(reason: string): RefusalError {
  return new RefusalError(refuse('INVALID_REQUEST', { param: 'amount_usd', values: { reason } }));
}

function smaller(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
