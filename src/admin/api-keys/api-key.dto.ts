import { PartialType } from '@nestjs/swagger';
import {
  ArrayMaxSize,
  ArrayMinSize,
  ArrayUnique,
  IsArray,
  IsISO8601,
  IsOptional,
  IsString,
  Length,
  Matches,
} from 'class-validator';
import { CHANGES, IsGivenName } from '../validation/fields.decorator';

/** A time without a zone would mean another instant on another machine. */
const NAMES_ITS_ZONE = /(Z|[+-]\d{2}:?\d{2})$/;

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
  @Matches(NAMES_ITS_ZONE, { message: '$property must name its zone, such as 2027-01-01T00:00:00Z' })
  @IsISO8601({ strict: true })
  expires_at?: string | null;
}

/** Only what is named changes. */
export class UpdateApiKeyDto extends PartialType(CreateApiKeyDto, CHANGES) {}

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
  created_at!: string;
  updated_at!: string;
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
