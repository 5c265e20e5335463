import { ApiProperty } from '@nestjs/swagger';
import { IsIn, IsOptional, IsUUID } from 'class-validator';
import { TRANSACTION_TYPES, type TransactionType } from '../../billing/entities/billing-transaction.entity';
import { NumberedPageQuery, PageQuery } from '../paging/page-query.dto';
import { IsGivenName } from '../validation/fields.decorator';

export class TransactionQuery extends PageQuery {
  @IsOptional()
  @IsUUID()
  tenant_id?: string;

  @IsOptional()
  @IsIn(['PENDING', 'COMMITTED', 'VOIDED'])
  status?: 'PENDING' | 'COMMITTED' | 'VOIDED';

  @IsOptional()
  @IsIn(TRANSACTION_TYPES)
  type?: TransactionType;

  @IsOptional()
  @IsGivenName()
  model?: string;

  /** `x-request-id` of the call. */
  @IsOptional()
  @IsUUID()
  trace_id?: string;

  /** What gives this charge back or corrects it. */
  @IsOptional()
  @IsUUID()
  original_transaction_id?: string;
}

/** Token buckets do not overlap. */
export class TokensDto {
  input_uncached!: number;
  input_cached!: number;
  cache_write!: number;
  output!: number;
  reasoning!: number;
  audio!: number;
  image!: number;
}

/** One charge or posting. Amounts are decimal USD strings with nine decimals. */
export class TransactionDto {
  id!: string;
  object!: 'transaction';
  tenant_id!: string;
  trace_id!: string;
  type!: TransactionType;
  status!: 'PENDING' | 'COMMITTED' | 'VOIDED';
  channel!: string;
  is_stream!: boolean;
  amount_usd!: string;
  hold_usd!: string;
  /** What refunds and credit notes have given back of it; never more than the amount. */
  refunded_usd!: string;
  credit_limit_usd!: string;
  /** Available (posted + credit limit − held) at the admission, before this hold and after it. */
  balance_before_usd!: string | null;
  balance_after_usd!: string | null;
  funding!: string;
  api_key_id!: string | null;
  api_key_name!: string | null;
  model!: string | null;
  upstream_id!: string | null;
  upstream_name!: string | null;
  provider_name!: string | null;
  /** Id of the price it was charged by. */
  price_version!: string | null;
  tokens!: TokensDto;
  /** What the served attempt costs us at the upstream's own cost price. */
  upstream_cost_usd!: string;
  counting_method!: 'usage' | 'tokenizer' | 'estimated' | null;
  end_reason!: string | null;
  reason_code!: string | null;
  description!: string | null;
  /** What gave back the last of it; null while something is left. */
  reversed_by!: string | null;
  /** Of a refund, credit note or correction, and of an adjustment for one: the charge it belongs to. */
  original_transaction_id!: string | null;
  day_window_start!: string | null;
  month_window_start!: string | null;
  created_at!: string;
  ended_at!: string | null;
}

export class TransactionDetailDto extends TransactionDto {
  /** Everything needed to compute the amount again; null where nothing was charged. */
  @ApiProperty({ type: 'object', nullable: true, additionalProperties: true })
  arithmetic!: unknown;
}

/**
 * Over every row the filters let through, not only the page; read by the same query as the rows. Null unless a tenant, a trace
 * id or an original transaction narrows the list: nobody waits for the sum of all that ever happened.
 */
export class TransactionTotalsDto {
  count!: number;
  /** Σ amounts of COMMITTED rows. */
  amount_usd!: string;
  /** Σ holds of PENDING rows. */
  held_usd!: string;
  refunded_usd!: string;
}

export class TransferQuery extends NumberedPageQuery {
  /** Transfers that debit or credit an account of this tenant. */
  @IsOptional()
  @IsUUID()
  tenant_id?: string;

  /** Transfers that debit or credit this account. */
  @IsOptional()
  @IsUUID()
  account_id?: string;

  @IsOptional()
  @IsUUID()
  transaction_id?: string;
}

/** One double entry: what is debited is credited. */
export class TransferDto {
  id!: string;
  object!: 'ledger_transfer';
  kind!: string;
  transaction_id!: string;
  debit_account_id!: string;
  credit_account_id!: string;
  amount_usd!: string;
  /** Number of this change of the account; null on the house side. */
  debit_version!: string | null;
  credit_version!: string | null;
  reason_code!: string | null;
  created_at!: string;
}

export class AccountQuery extends PageQuery {
  /** Only this tenant's accounts. */
  @IsOptional()
  @IsUUID()
  tenant_id?: string;
}

export class AccountDto {
  id!: string;
  object!: 'ledger_account';
  /** Null for the house's accounts. */
  tenant_id!: string | null;
  name!: string;
  /** Credits − debits. The house's balances are the sum of their transfers. */
  posted_usd!: string;
  credit_limit_usd!: string;
  /** Number of changes; null for the house's accounts. */
  version!: string | null;
  created_at!: string;
}

export class RequestLogQuery extends PageQuery {
  @IsOptional()
  @IsUUID()
  tenant_id?: string;

  @IsOptional()
  @IsUUID()
  api_key_id?: string;

  @IsOptional()
  @IsGivenName()
  model?: string;
}

/** What a call used that no charge was made for. */
export class UnchargedUsageDto {
  /** By bucket. */
  tokens!: object;
  counting_method!: string;
  price_version!: string | null;
  /** What it would have cost by the price book; booked nowhere. */
  cost_usd!: string;
}

/** One attempt of a call at one upstream, and who pays what it cost us. */
export class AttemptDto {
  attempt!: number;
  /** Null once the upstream is deleted. */
  upstream_id!: string | null;
  upstream_name!: string | null;
  provider_name!: string | null;
  /** HTTP status; null where no headers came. */
  status!: number | null;
  /** HTTP status, the kind of failure, or how a stream ended. */
  outcome!: string;
  is_served!: boolean;
  ttft_ms!: number | null;
  duration_ms!: number;
  /** By bucket, as far as they are known. */
  @ApiProperty({ type: 'object', nullable: true, additionalProperties: { type: 'integer' } })
  tokens!: Readonly<Record<string, number>> | null;
  upstream_cost_usd!: string;
  paid_by!: 'tenant' | 'house' | 'nobody';
}

/** Operational record of one call; its id is the trace id. */
export class RequestLogDto {
  id!: string;
  object!: 'request_log';
  tenant_id!: string;
  api_key_id!: string | null;
  /** What the client called its request. */
  client_request_id!: string | null;
  channel!: string;
  route!: string;
  model!: string | null;
  is_stream!: boolean;
  status!: number;
  error_code!: string | null;
  end_reason!: string | null;
  /** In the order in which they were made. */
  attempts!: Readonly<AttemptDto>[];
  duration_ms!: number;
  ttft_ms!: number | null;
  /** Only of a call in RUN_MODE=simple: any other has a charge. */
  usage!: Readonly<UnchargedUsageDto> | null;
  created_at!: string;
}
