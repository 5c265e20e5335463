import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { LedgerAccount } from '../../billing/entities/ledger-account.entity';
import { LedgerTransfer } from '../../billing/entities/ledger-transfer.entity';
import { type NanoUsd, nanoUsd, toDecimalUsd, ZERO_NANO_USD } from '../../kernel/money';
import { type Page, pageOf } from '../paging/page';
import type { AccountDto, AccountQuery, TransferDto, TransferQuery } from './ledger.dto';

/** Reads accounts and transfers as they stand; nothing here writes. */
@Injectable()
export class LedgerReader {
  constructor(private readonly dataSource: DataSource) {}

  async transfers(query: TransferQuery): Promise<Page<TransferDto>> {
    const found = this.dataSource
      .getRepository(LedgerTransfer)
      .createQueryBuilder('t')
      .orderBy('t.id', 'DESC')
      .take(query.limit + 1);
    if (query.after !== undefined) found.andWhere('t.id < :after', { after: query.after });
    if (query.transaction_id !== undefined) {
      found.andWhere('t.transaction_id = :transactionId', { transactionId: query.transaction_id });
    }
    if (query.account_id !== undefined) found.andWhere(touching('accountId'), { accountId: [query.account_id] });
    if (query.tenant_id !== undefined) {
      found.andWhere(touching('tenantAccounts'), { tenantAccounts: await this.accountsOf(query.tenant_id) });
    }
    return pageOf(await found.getMany(), query.limit, renderTransfer);
  }

  /** Few and never deleted. Known ids let Postgres choose a plan by how many transfers they have. */
  private async accountsOf(tenantId: string): Promise<readonly string[]> {
    const accounts = await this.dataSource
      .getRepository(LedgerAccount)
      .find({ where: { tenantId }, select: { id: true } });
    return accounts.map(({ id }) => id);
  }

  async accounts(query: AccountQuery): Promise<Page<AccountDto>> {
    const found = this.dataSource
      .getRepository(LedgerAccount)
      .createQueryBuilder('a')
      .orderBy('a.id', 'DESC')
      .take(query.limit + 1);
    if (query.after !== undefined) found.andWhere('a.id < :after', { after: query.after });
    if (query.tenant_id !== undefined) found.andWhere('a.tenant_id = :tenantId', { tenantId: query.tenant_id });
    const rows = await found.getMany();
    const derived = await this.houseBalances(rows.filter(({ tenantId }) => tenantId === null).map(({ id }) => id));
    return pageOf(rows, query.limit, (row) => renderAccount(row, derived.get(row.id)));
  }

  /** The house keeps no balances, so that no row is hot: they are the sum of its transfers, beside what old months came to. */
  private async houseBalances(accountIds: readonly string[]): Promise<ReadonlyMap<string, NanoUsd>> {
    if (accountIds.length === 0) return new Map();
    const rows: { id: string; posted: string }[] = await this.dataSource.query(
      `select id, sum(amount) as posted from (
         select credit_account_id as id, sum(amount_nano_usd) as amount from ledger_transfer
          where credit_version is null and credit_account_id = any ($1::uuid[]) group by 1
         union all
         select debit_account_id, -sum(amount_nano_usd) from ledger_transfer
          where debit_version is null and debit_account_id = any ($1::uuid[]) group by 1
         union all
         select account_id, posted_nano_usd from ledger_opening_balance
          where account_id = any ($1::uuid[]) and month = (select max(month) from ledger_opening_balance)) entries
       group by id`,
      [accountIds],
    );
    return new Map(rows.map(({ id, posted }) => [id, nanoUsd(BigInt(posted))]));
  }
}

/** Either side, spelled so that each arm is the predicate of one partial index: a tenant's entries have a version. */
function touching(parameter: string): string {
  const arms = ['debit', 'credit'].flatMap((side) =>
    ['is not null', 'is null'].map(
      (version) => `(t.${side}_version ${version} and t.${side}_account_id = any (:${parameter}::uuid[]))`,
    ),
  );
  return `(${arms.join(' or ')})`;
}

function renderTransfer(row: LedgerTransfer): Readonly<TransferDto> {
  return {
    id: row.id,
    object: 'ledger_transfer',
    kind: row.kind,
    transaction_id: row.transactionId,
    debit_account_id: row.debitAccountId,
    credit_account_id: row.creditAccountId,
    amount_usd: toDecimalUsd(row.amountNanoUsd),
    debit_version: row.debitVersion,
    credit_version: row.creditVersion,
    reason_code: row.reasonCode,
    created_at: row.createdAt.toISOString(),
  };
}

function renderAccount(row: LedgerAccount, derived: NanoUsd | undefined): Readonly<AccountDto> {
  return {
    id: row.id,
    object: 'ledger_account',
    tenant_id: row.tenantId,
    name: row.name,
    posted_usd: toDecimalUsd(row.postedNanoUsd ?? derived ?? ZERO_NANO_USD),
    credit_limit_usd: toDecimalUsd(row.creditLimitNanoUsd),
    version: row.tenantId === null ? null : row.version,
    created_at: row.createdAt.toISOString(),
  };
}
