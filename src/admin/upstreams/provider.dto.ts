import { IsIn, IsString, Length, Matches } from 'class-validator';
import type { ProviderKind } from '../../upstreams/upstream.port';
import { IsGivenName, MayBeAbsent } from '../validation/fields.decorator';

/** It travels in a header. */
const HEADER_SAFE = /^[\x21-\x7e]+$/;
const HEADER_SAFE_MESSAGE = { message: '$property must consist of printable characters without blanks' };

export class CreateProviderDto {
  @IsString()
  @IsGivenName()
  name!: string;

  @IsIn(['openai'])
  kind!: ProviderKind;

  /** Such as `https://api.openai.com/v1`. */
  @IsString()
  @Length(1, 2048)
  base_url!: string;

  /** Stored encrypted; never shown again. */
  @IsString()
  @Length(1, 1024)
  @Matches(HEADER_SAFE, HEADER_SAFE_MESSAGE)
  api_key!: string;
}

/** Only what is named changes. */
export class UpdateProviderDto {
  @MayBeAbsent()
  @IsString()
  @IsGivenName()
  name?: string;

  /** Such as `https://api.openai.com/v1`. */
  @MayBeAbsent()
  @IsString()
  @Length(1, 2048)
  base_url?: string;

  /** Stored encrypted; never shown again. */
  @MayBeAbsent()
  @IsString()
  @Length(1, 1024)
  @Matches(HEADER_SAFE, HEADER_SAFE_MESSAGE)
  api_key?: string;
}

/** Its key is never shown. */
export class ProviderDto {
  id!: string;
  object!: 'provider';
  name!: string;
  kind!: ProviderKind;
  base_url!: string;
  created_at!: string;
  updated_at!: string;
}
