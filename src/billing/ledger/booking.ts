import type { Pool, PoolClient } from 'pg';
import { refuse, RefusalError } from '../../kernel/errors';
import { newId } from '../../kernel/ids';
import { type NanoUsd, nanoUsd } from '../../kernel/money';
import { tenantBalance } from '../../quota/tenant-balance';

export interface Account {
  readonly id: string;
  readonly name: string;
  readonly posted_nano_usd: string;
  readonly credit_limit_nano_usd: string;
  readonly version: string;
}

export interface TenantAccounts {
  readonly wallet: Account;
  /** Absent until the tenant gets its first promotional credit. */
  readonly promo: Account | undefined;
  readonly overrun: Account;
}

/** What a posting left: balance and version of wallet and promo together, to be projected. */
export interface Posting {
  readonly transactionId: string;
  readonly posted: NanoUsd;
  readonly version: bigint;
  /** An earlier posting answered: nothing was written. Balance and version are those of now. */
  readonly isRepeat: boolean;
}

/** See the check on ledger_account: with the wallet's bound it stays exact in doubles. */
export const MAX_PROMO_NANO_USD = 7_000_000_000_000n;

/** The row that names what transfers belong to; `transactionId` links them. */
export interface PostingRecord {
  readonly transactionId: string;
  readonly tenantId: string;
  readonly traceId: string;
  readonly type: 'adjustment' | 'refund' | 'credit_note';
  readonly amountNanoUsd: string;
  readonly reasonCode: string;
  readonly description: string;
  /** The charge it belongs to. */
  readonly originalTransactionId?: string | undefined;
  /** Who paid that; the wallet unless given. */
  readonly funding?: string;
}

export async function recordPosting(client: PoolClient, record: PostingRecord): Promise<void> {
  await client.query(
    `insert into billing_transaction (id, tenant_id, trace_id, type, status, channel, amount_nano_usd, reason_code,
                                      description, original_transaction_id, funding, ended_at)
       values ($1, $2, $3, $4, 'COMMITTED', 'admin', $5, $6, $7, $8, $9, now())`,
    [
      record.transactionId,
      record.tenantId,
      record.traceId,
      record.type,
      record.amountNanoUsd,
      record.reasonCode,
      record.description,
      record.originalTransactionId ?? null,
      record.funding ?? 'wallet',
    ],
  );
}

/** Transfers of one transaction, and the versions they give the accounts that take part. */
export class Booking {
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

  /** Credits the wallet from a house account; what is in overrun is repaid first. */
  async credit(
    kind: string,
    houseAccountId: string,
    { wallet, overrun }: Pick<TenantAccounts, 'wallet' | 'overrun'>,
    amount: bigint,
  ): Promise<void> {
    await this.transfer(kind, houseAccountId, wallet, amount);
    const repaid = repaymentOf(overrun, amount);
    if (repaid > 0n) {
      await this.transfer('overrun_repayment', wallet, overrun, repaid);
      await this.post(overrun);
    }
    await this.post(wallet);
  }

  /** Debits as a charge does: the wallet down to −(its credit limit), what exceeds that overrun. */
  async debit(
    kind: string,
    houseAccountId: string,
    { wallet, overrun }: Pick<TenantAccounts, 'wallet' | 'overrun'>,
    amount: bigint,
  ): Promise<void> {
    const spendable = BigInt(wallet.posted_nano_usd) + BigInt(wallet.credit_limit_nano_usd);
    const fromWallet = spendable <= 0n ? 0n : spendable < amount ? spendable : amount;
    if (fromWallet > 0n) {
      await this.transfer(kind, wallet, houseAccountId, fromWallet);
      await this.post(wallet);
    }
    if (fromWallet < amount) {
      await this.transfer(kind, overrun, houseAccountId, amount - fromWallet);
      await this.post(overrun);
    }
  }

  /** Writes what the transfers so far have made of the account. */
  async post(account: Account): Promise<void> {
    const { posted, version } = this.changeOf(account);
    await this.client.query(`update ledger_account set posted_nano_usd = $2, version = $3 where id = $1`, [
      account.id,
      posted.toString(),
      version.toString(),
    ]);
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

/** Locks the tenant's accounts in the order of their ids, as every writer of money does, until the transaction ends. */
export async function lockAccounts(client: PoolClient, tenantId: string): Promise<TenantAccounts> {
  const { rows } = await client.query<Account>(
    `select id, name, posted_nano_usd, credit_limit_nano_usd, version from ledger_account
      where tenant_id = $1 and name in ('wallet', 'promo', 'overrun') order by id for update`,
    [tenantId],
  );
  const named = (name: string): Account | undefined => rows.find((account) => account.name === name);
  const [wallet, overrun] = [named('wallet'), named('overrun')];
  if (!wallet || !overrun) throw new RefusalError(refuse('NOT_FOUND', { values: { what: 'tenant' } }));
  return { wallet, promo: named('promo'), overrun };
}

/** The tenant's promo account, made on first use; the wallet is locked, so nobody else makes it meanwhile. */
export async function promoAccount(client: PoolClient, tenantId: string, { promo }: TenantAccounts): Promise<Account> {
  if (promo) return promo;
  const { rows } = await client.query<Account>(
    `insert into ledger_account (id, tenant_id, name, posted_nano_usd) values ($1, $2, 'promo', 0)
       returning id, name, posted_nano_usd, credit_limit_nano_usd, version`,
    [newId(), tenantId],
  );
  const [created] = rows;
  if (!created) throw new Error(`tenant ${tenantId} got no promo account`);
  return created;
}

/** What is to be projected, as it stands in the caller's transaction. */
export async function balanceNow(
  client: Pool | PoolClient,
  tenantId: string,
): Promise<{ posted: NanoUsd; version: bigint }> {
  const { posted_nano_usd, version } = await tenantBalance(client, tenantId);
  return { posted: nanoUsd(posted_nano_usd), version: BigInt(version) };
}

/** What of a credit goes to overrun before the wallet keeps anything. */
export function repaymentOf(overrun: Account, credit: bigint): bigint {
  const owed = -BigInt(overrun.posted_nano_usd);
  return owed < credit ? owed : credit;
}
