import { Injectable } from '@nestjs/common';
import { DataSource, type ObjectLiteral, type Repository } from 'typeorm';
import { BillingTransaction } from '../../billing/entities/billing-transaction.entity';
import { RequestBillingSnapshot } from '../../billing/entities/request-billing-snapshot.entity';
import { type NanoUsd, nanoUsd, toDecimalUsd } from '../../kernel/money';
import { type Page, pageOf } from '../paging/page';
import { notFound } from '../refusals';
import type {
  TokensDto,
  TransactionDetailDto,
  TransactionDto,
  TransactionQuery,
  TransactionTotalsDto,
} from './ledger.dto';

type TransactionPage = Page<TransactionDto> & { readonly totals: TransactionTotalsDto | null };

interface TotalsRow {
  readonly total_count: string;
  readonly total_amount: string;
  readonly total_held: string;
  readonly total_refunded: string;
}

/** A row of the page beside the totals; all null but the totals where the page is empty. */
type RawRow = TotalsRow & { readonly id: string | null } & Readonly<Record<string, unknown>>;

/** Columns a transaction can be found by; each also a field of TransactionQuery. */
const FILTERS = ['tenant_id', 'trace_id', 'status', 'type', 'model', 'original_transaction_id'] as const;

/** Of these, what bounds the rows that totals are summed over. */
const NARROWING = ['tenant_id', 'trace_id', 'original_transaction_id'] as const;

/** Reads the business record of charges and postings. */
@Injectable()
export class TransactionsService {
  constructor(private readonly dataSource: DataSource) {}

  async list(query: TransactionQuery): Promise<TransactionPage> {
    const { conditions, values } = filtersOf(query);
    const isSummed = NARROWING.some((column) => query[column] !== undefined);
    const page = [...values, query.after ?? null, query.limit + 1];
    // What narrows the list bounds its rows, which are then read once for both; else the page comes by the id alone.
    const rows: RawRow[] = await this.dataSource.query(
      `with filtered as ${isSummed ? '' : 'not '}materialized (select * from billing_transaction ${conditions}),
            totals as (
              select count(*) as total_count,
                     coalesce(sum(amount_nano_usd) filter (where status = 'COMMITTED'), 0) as total_amount,
                     coalesce(sum(hold_nano_usd) filter (where status = 'PENDING'), 0) as total_held,
                     coalesce(sum(refunded_nano_usd), 0) as total_refunded
                from filtered where ${String(isSummed)}),
            page as (
              select * from filtered
               where id < coalesce($${page.length - 1}::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
               order by id desc limit $${page.length})
       select * from totals left join page on true order by page.id desc`,
      page,
    );
    const repository = this.dataSource.getRepository(BillingTransaction);
    const found = rows.filter((row) => row.id !== null).map((row) => hydrate(repository, row));
    return { ...pageOf(found, query.limit, render), totals: isSummed ? totalsOf(rows[0]) : null };
  }

  async get(id: string): Promise<Readonly<TransactionDetailDto>> {
    const [transaction, snapshot] = await Promise.all([
      this.dataSource.getRepository(BillingTransaction).findOneBy({ id }),
      this.dataSource.getRepository(RequestBillingSnapshot).findOneBy({ transactionId: id }),
    ]);
    if (!transaction) throw notFound('transaction');
    return { ...render(transaction), arithmetic: snapshot?.arithmetic ?? null };
  }
}

function filtersOf(query: TransactionQuery): { conditions: string; values: string[] } {
  const values: string[] = [];
  const conditions: string[] = [];
  for (const column of FILTERS) {
    const value = query[column];
    if (value !== undefined) conditions.push(`${column} = $${values.push(value)}`);
  }
  return { conditions: conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`, values };
}

/** An entity from a row of a statement of ours, by the entity's own columns. */
function hydrate<T extends ObjectLiteral>(repository: Repository<T>, row: Readonly<Record<string, unknown>>): T {
  const entity = repository.create();
  for (const column of repository.metadata.columns) {
    const value: unknown = repository.manager.dataSource.driver.prepareHydratedValue(row[column.databaseName], column);
    column.setEntityValue(entity, value);
  }
  return entity;
}

function totalsOf(row: TotalsRow | undefined): Readonly<TransactionTotalsDto> {
  return {
    count: Number(row?.total_count ?? 0),
    amount_usd: toDecimalUsd(exact(row?.total_amount)),
    held_usd: toDecimalUsd(exact(row?.total_held)),
    refunded_usd: toDecimalUsd(exact(row?.total_refunded)),
  };
}

/** A sum of bigints is a numeric: it may be longer than any one amount. */
function exact(sum: string | undefined): NanoUsd {
  return nanoUsd(BigInt(sum ?? '0'));
}

function render(row: BillingTransaction): Readonly<TransactionDto> {
  return {
    id: row.id,
    object: 'transaction',
    tenant_id: row.tenantId,
    trace_id: row.traceId,
    type: row.type,
    status: row.status,
    channel: row.channel,
    is_stream: row.isStream,
    amount_usd: toDecimalUsd(row.amountNanoUsd),
    hold_usd: toDecimalUsd(row.holdNanoUsd),
    refunded_usd: toDecimalUsd(row.refundedNanoUsd),
    credit_limit_usd: toDecimalUsd(row.creditLimitNanoUsd),
    balance_before_usd: usdOrNull(row.balanceBeforeNanoUsd),
    balance_after_usd: usdOrNull(row.balanceAfterNanoUsd),
    funding: row.funding,
    api_key_id: row.apiKeyId,
    api_key_name: row.apiKeyName,
    model: row.model,
    upstream_id: row.upstreamId,
    upstream_name: row.upstreamName,
    provider_name: row.providerName,
    price_version: row.priceVersion,
    tokens: renderTokens(row),
    upstream_cost_usd: toDecimalUsd(row.upstreamCostNanoUsd),
    counting_method: row.countingMethod,
    end_reason: row.endReason,
    reason_code: row.reasonCode,
    description: row.description,
    reversed_by: row.reversedBy,
    original_transaction_id: row.originalTransactionId,
    day_window_start: row.dayWindowStart?.toISOString() ?? null,
    month_window_start: row.monthWindowStart?.toISOString() ?? null,
    created_at: row.createdAt.toISOString(),
    ended_at: row.endedAt?.toISOString() ?? null,
  };
}

function renderTokens(row: BillingTransaction): Readonly<TokensDto> {
  return {
    input_uncached: Number(row.tokensInputUncached),
    input_cached: Number(row.tokensInputCached),
    cache_write: Number(row.tokensCacheWrite),
    output: Number(row.tokensOutput),
    reasoning: Number(row.tokensReasoning),
    audio: Number(row.tokensAudio),
    image: Number(row.tokensImage),
  };
}

function usdOrNull(amount: NanoUsd | null): string | null {
  return amount === null ? null : toDecimalUsd(amount);
}
