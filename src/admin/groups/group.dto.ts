import { OmitType, PartialType } from '@nestjs/swagger';
import { IsIn, IsInt, IsUUID, Max, Min } from 'class-validator';
import { GROUP_KINDS, type GroupKind } from '../../auth/tenant-group.entity';
import { PageQuery } from '../paging/page-query.dto';
import { CHANGES, IsCountLimit, IsGivenName, MAX_COUNT, MayBeAbsent } from '../validation/fields.decorator';
import { IsPriceMultiplier } from '../validation/is-price-multiplier.decorator';

export class CreateGroupDto {
  @IsUUID()
  tenant_id!: string;

  @IsGivenName()
  name!: string;

  /** Who pays for its keys: the tenant's own money (`standard`, unless given), or a subscription only. Never changes. */
  @MayBeAbsent()
  @IsIn(GROUP_KINDS)
  kind?: GroupKind;

  /** Requests in 60 seconds of each user in the group, unless it has an override; null is unlimited. */
  @IsCountLimit()
  rpm_limit?: number | null;

  /** What a call by its keys costs, times the price of the model: `"0.85"` is 15 % off. Left out: `"1"`. */
  @MayBeAbsent()
  @IsPriceMultiplier()
  price_multiplier?: string;
}

/** Only what is named changes. */
export class UpdateGroupDto extends PartialType(OmitType(CreateGroupDto, ['tenant_id', 'kind']), CHANGES) {}

export class GroupQuery extends PageQuery {
  @MayBeAbsent()
  @IsUUID()
  tenant_id?: string;

  @MayBeAbsent()
  @IsIn(GROUP_KINDS)
  kind?: GroupKind;
}

export class GroupDto {
  id!: string;
  object!: 'group';
  tenant_id!: string;
  name!: string;
  kind!: GroupKind;
  /** Null is unlimited. */
  rpm_limit!: number | null;
  /** With 6 decimals; of calls admitted from now on. */
  price_multiplier!: string;
  created_at!: string;
  updated_at!: string;
}

export class SetRpmOverrideDto {
  /** Requests in 60 seconds of this user in this group, instead of the group's; 0: exempt. */
  @Min(0)
  @Max(MAX_COUNT)
  @IsInt()
  rpm_limit!: number;
}

export class RpmOverrideDto {
  /** That of the user: an override has none of its own. */
  id!: string;
  object!: 'rpm_override';
  tenant_id!: string;
  group_id!: string;
  user_id!: string;
  /** 0: exempt. */
  rpm_limit!: number;
  created_at!: string;
  updated_at!: string;
}
