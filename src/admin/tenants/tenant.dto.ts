import { ApiProperty, OmitType, PartialType } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsIn, IsInt, IsObject, IsOptional, IsString, IsUUID, Length, Max, Min, ValidateNested } from 'class-validator';
import type { UnknownPricePolicy } from '../../auth/principal';
import type { TenantStatus } from '../../auth/tenant.entity';
import { IsTimeZone } from '../../platform/config/is-time-zone.decorator';
import type { Service } from '../../quota/scopes/caller-limits';
import { CounterDto } from '../limits/counter.dto';
import { PageQuery } from '../paging/page-query.dto';
import {
  CHANGES,
  IsCountLimit,
  IsGivenName,
  IsReasonCode,
  MAX_COUNT,
  MayBeAbsent,
} from '../validation/fields.decorator';
import { IsUsd } from '../validation/is-usd.decorator';

/** Calls a calendar month in the tenant's zone that nobody pays for, by service; 0: none. */
export class FreeAllowancesDto implements Record<Service, number> {
  @Min(0)
  @Max(MAX_COUNT)
  @IsInt()
  chat!: number;

  @Min(0)
  @Max(MAX_COUNT)
  @IsInt()
  embeddings!: number;
}

/** Only what is named changes. */
export class ChangedFreeAllowancesDto extends PartialType(FreeAllowancesDto, CHANGES) {}

export class CreateTenantDto {
  @IsGivenName()
  name!: string;

  /** Decimal USD string, such as `"10.00"`: posted to the wallet as an adjustment. */
  @MayBeAbsent()
  @IsUsd({ mayBeNegative: false })
  initial_balance_usd?: string;

  /** Decimal USD string: how far below zero the wallet may go. */
  @MayBeAbsent()
  @IsUsd({ mayBeNegative: false })
  credit_limit_usd?: string;

  /** Requests a calendar day in the tenant's zone; null is unlimited. */
  @IsCountLimit()
  daily_quota?: number | null;

  /** Requests a calendar month in the tenant's zone; null is unlimited. */
  @IsCountLimit()
  monthly_quota?: number | null;

  /** Requests in 60 seconds of all its keys; null is unlimited. */
  @IsCountLimit()
  rpm_limit?: number | null;

  /** Tokens in 60 seconds of all its keys; null is unlimited. */
  @IsCountLimit()
  tpm_limit?: number | null;

  /** Calls under way at once of all its keys; null is unlimited. */
  @IsCountLimit()
  concurrency_limit?: number | null;

  /** Unless given: what FREE_ALLOWANCES says. */
  @MayBeAbsent()
  @ValidateNested()
  @Type(() => ChangedFreeAllowancesDto)
  @IsObject()
  free_allowances?: ChangedFreeAllowancesDto;

  /** IANA zone whose calendar the quotas follow, such as `Asia/Shanghai`. */
  @MayBeAbsent()
  @IsTimeZone()
  timezone?: string;

  /** Calls to a model without a price: refused, or served free. */
  @MayBeAbsent()
  @IsIn(['reject', 'free'])
  unknown_price_policy?: UnknownPricePolicy;
}

/** Only what is named changes. */
export class UpdateTenantDto extends PartialType(OmitType(CreateTenantDto, ['initial_balance_usd']), CHANGES) {
  /** A suspended tenant's keys are refused. Closing is DELETE. */
  @MayBeAbsent()
  @IsIn(['active', 'suspended'])
  status?: 'active' | 'suspended';
}

export class TenantQuery extends PageQuery {
  @IsOptional()
  @IsIn(['active', 'suspended', 'closed'])
  status?: TenantStatus;
}

/** Amounts are decimal USD strings with nine decimals. */
export class BalanceDto {
  /** Σ credits − Σ debits of the wallet. */
  posted_usd!: string;
  credit_limit_usd!: string;
  /** Reserved by calls that have not ended. */
  held_usd!: string;
  /** posted + credit limit − held. */
  available_usd!: string;
  /** What calls cost beyond balance and credit limit, still owed; the next credit repays it first. */
  overrun_usd!: string;
}

export class TenantDto {
  id!: string;
  object!: 'tenant';
  name!: string;
  status!: TenantStatus;
  timezone!: string;
  /** Null is unlimited. */
  daily_quota!: number | null;
  /** Null is unlimited. */
  monthly_quota!: number | null;
  /** Null is unlimited. */
  rpm_limit!: number | null;
  /** Null is unlimited. */
  tpm_limit!: number | null;
  /** Null is unlimited. */
  concurrency_limit!: number | null;
  free_allowances!: FreeAllowancesDto;
  unknown_price_policy!: UnknownPricePolicy;
  balance!: BalanceDto;
  created_at!: string;
  updated_at!: string;
}

export class QuotaWindowDto {
  /** Null is unlimited. */
  limit!: number | null;
  /** Requests counted in the window: charged ones and those under way. */
  used!: number;
  /** Null is unlimited. */
  remaining!: number | null;
  window_start!: string;
  resets_at!: string;
}

export class TenantQuotaDto {
  object!: 'tenant_quota';
  tenant_id!: string;
  timezone!: string;
  daily!: QuotaWindowDto;
  monthly!: QuotaWindowDto;
  /**
   * Every other limit that is set: the tenant's rates and free allowances, then of subscriptions, of users at platforms and
   * of keys, the newest hundred of each. Rates of users and groups are counted in Redis alone and not shown.
   */
  @ApiProperty({ type: [CounterDto] })
  counters!: readonly Readonly<CounterDto>[];
  /** Whether there are more than a hundred of a kind; each is shown with its key, quota or subscription. */
  has_more!: boolean;
  balance!: BalanceDto;
}

export class CreateAdjustmentDto {
  /** Decimal USD string, such as `"25.00"`; negative debits. Never zero. */
  @IsUsd({ mayBeNegative: true })
  amount_usd!: string;

  /** `promo` is spent before the wallet and stays between 0 and 7,000 USD; `wallet` unless given. */
  @MayBeAbsent()
  @IsIn(['wallet', 'promo'])
  account?: 'wallet' | 'promo';

  /** Stable word for reports, such as `GOODWILL`. */
  @IsReasonCode()
  reason_code!: string;

  @Length(1, 500)
  @IsString()
  description!: string;

  /** The committed charge of this tenant that it corrects. What it moves is no part of that charge: that is a refund. */
  @MayBeAbsent()
  @IsUUID()
  original_transaction_id?: string;
}

export class AdjustmentDto {
  /** Id of its transaction. */
  id!: string;
  object!: 'adjustment';
  tenant_id!: string;
  amount_usd!: string;
  /** Wallet and promotional credit together, after it. */
  posted_usd!: string;
  /** Number of changes the wallet has seen. */
  version!: string;
}
