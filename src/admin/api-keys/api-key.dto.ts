import { ApiProperty, PartialType } from '@nestjs/swagger';
import {
  ArrayMaxSize,
  ArrayMinSize,
  ArrayUnique,
  IsArray,
  IsOptional,
  IsString,
  IsUUID,
  Length,
} from 'class-validator';
import { CounterDto } from '../limits/counter.dto';
import { PageQuery } from '../paging/page-query.dto';
import { CHANGES, IsGivenName, IsInstant, MayBeAbsent } from '../validation/fields.decorator';
import { IsUsd } from '../validation/is-usd.decorator';

export class CreateApiKeyDto {
  @IsGivenName()
  name!: string;

  /** Models this key may ask for; null, as in a new key unless given: every model. */
  @IsOptional()
  @ArrayMinSize(1)
  @ArrayMaxSize(200)
  @ArrayUnique()
  @Length(1, 200, { each: true })
  @IsString({ each: true })
  @IsArray()
  allowed_models?: string[] | null;

  /** RFC 3339 with zone, such as `2027-01-01T00:00:00Z`; null, as in a new key unless given: never. */
  @IsOptional()
  @IsInstant()
  expires_at?: string | null;

  /** What the key may cost in its whole life: decimal USD string; null, as in a new key unless given: unlimited. */
  @IsOptional()
  @IsUsd({ mayBeNegative: false })
  budget_usd?: string | null;

  /** What it may cost in 5 hours from the first use; null: unlimited. */
  @IsOptional()
  @IsUsd({ mayBeNegative: false })
  limit_5h_usd?: string | null;

  /** What it may cost in a day from the first use; null: unlimited. */
  @IsOptional()
  @IsUsd({ mayBeNegative: false })
  limit_1d_usd?: string | null;

  /** What it may cost in 7 days from the first use; null: unlimited. */
  @IsOptional()
  @IsUsd({ mayBeNegative: false })
  limit_7d_usd?: string | null;

  /** A user of the tenant, with its rate and quotas; null: nobody. */
  @IsOptional()
  @IsUUID()
  user_id?: string | null;

  /** A group of the tenant; in a subscription group a subscription pays, and nothing else; null: none. */
  @IsOptional()
  @IsUUID()
  group_id?: string | null;
}

/** Only what is named changes. */
export class UpdateApiKeyDto extends PartialType(CreateApiKeyDto, CHANGES) {}

export class ApiKeyQuery extends PageQuery {
  @MayBeAbsent()
  @IsUUID()
  user_id?: string;

  @MayBeAbsent()
  @IsUUID()
  group_id?: string;
}

export class ApiKeyDto {
  id!: string;
  object!: 'api_key';
  tenant_id!: string;
  name!: string;
  /** Last four characters of the key. */
  hint!: string;
  /** Null is every model. */
  allowed_models!: string[] | null;
  expires_at!: string | null;
  revoked_at!: string | null;
  /** Decimal USD strings with nine decimals; null is unlimited. */
  budget_usd!: string | null;
  limit_5h_usd!: string | null;
  limit_1d_usd!: string | null;
  limit_7d_usd!: string | null;
  user_id!: string | null;
  group_id!: string | null;
  created_at!: string;
  updated_at!: string;
}

export class ApiKeyDetailDto extends ApiKeyDto {
  /** What is used of each limit the key has. */
  @ApiProperty({ type: [CounterDto] })
  usage!: readonly Readonly<CounterDto>[];
}

export class CreatedApiKeyDto extends ApiKeyDto {
  /** The key itself: shown here and never again. */
  key!: string;
}

export class DeletedDto {
  id!: string;
  object!: string;
  deleted!: true;
}
