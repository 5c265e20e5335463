import { OmitType, PartialType } from '@nestjs/swagger';
import { IsIn, IsUUID } from 'class-validator';
import type { ProviderKind } from '../../upstreams/upstream.port';
import { ShownUsdLimitsDto, UsdLimitsDto } from '../limits/usd-limits.dto';
import { PageQuery } from '../paging/page-query.dto';
import { CHANGES, MayBeAbsent } from '../validation/fields.decorator';

/** A record, so that a kind of provider that is added must be added here. */
const KINDS: Readonly<Record<ProviderKind, true>> = { openai: true, anthropic: true };
const PLATFORMS = Object.keys(KINDS);

export class CreateUserPlatformQuotaDto extends UsdLimitsDto {
  @IsUUID()
  user_id!: string;

  /** Kind of the provider that serves the call. */
  @IsIn(PLATFORMS)
  platform!: ProviderKind;
}

/** Only what is named changes. */
export class UpdateUserPlatformQuotaDto extends PartialType(
  OmitType(CreateUserPlatformQuotaDto, ['user_id', 'platform']),
  CHANGES,
) {}

export class UserPlatformQuotaQuery extends PageQuery {
  @MayBeAbsent()
  @IsUUID()
  tenant_id?: string;

  @MayBeAbsent()
  @IsUUID()
  user_id?: string;
}

export class UserPlatformQuotaDto extends ShownUsdLimitsDto {
  id!: string;
  object!: 'user_platform_quota';
  tenant_id!: string;
  user_id!: string;
  platform!: string;
  created_at!: string;
  updated_at!: string;
}
