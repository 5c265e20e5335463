import { OmitType, PartialType } from '@nestjs/swagger';
import { IsIn, IsOptional, IsUUID } from 'class-validator';
import { SUBSCRIPTION_STATUSES, type SubscriptionStatus } from '../../auth/subscription.entity';
import { ShownUsdLimitsDto, UsdLimitsDto } from '../limits/usd-limits.dto';
import { PageQuery } from '../paging/page-query.dto';
import { CHANGES, IsInstant, MayBeAbsent } from '../validation/fields.decorator';

export class CreateSubscriptionDto extends UsdLimitsDto {
  /** A group of kind `subscription`: its keys pay by subscription only. */
  @IsUUID()
  group_id!: string;

  /** A user of the group's tenant: for its keys in the group only; null, unless given: for every key of the group. */
  @IsOptional()
  @IsUUID()
  user_id?: string | null;

  /** RFC 3339 with zone, such as `2027-01-01T00:00:00Z`; unless given: now. */
  @MayBeAbsent()
  @IsInstant()
  starts_at?: string;

  /** RFC 3339 with zone, exclusive; null, unless given: without end. */
  @IsOptional()
  @IsInstant()
  ends_at?: string | null;
}

/** Only what is named changes. */
export class UpdateSubscriptionDto extends PartialType(
  OmitType(CreateSubscriptionDto, ['group_id', 'user_id']),
  CHANGES,
) {
  /** Nothing is admitted by one that is paused or cancelled. Closing is DELETE. */
  @MayBeAbsent()
  @IsIn(['active', 'paused', 'cancelled'])
  status?: 'active' | 'paused' | 'cancelled';
}

export class SubscriptionQuery extends PageQuery {
  @MayBeAbsent()
  @IsUUID()
  tenant_id?: string;

  @MayBeAbsent()
  @IsUUID()
  group_id?: string;

  @MayBeAbsent()
  @IsUUID()
  user_id?: string;

  @MayBeAbsent()
  @IsIn(SUBSCRIPTION_STATUSES)
  status?: SubscriptionStatus;
}

export class SubscriptionDto extends ShownUsdLimitsDto {
  id!: string;
  object!: 'subscription';
  tenant_id!: string;
  group_id!: string;
  /** Null: for every key of the group. */
  user_id!: string | null;
  status!: SubscriptionStatus;
  starts_at!: string;
  /** Null: without end. */
  ends_at!: string | null;
  created_at!: string;
  updated_at!: string;
}
