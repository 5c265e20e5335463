import { OmitType, PartialType } from '@nestjs/swagger';
import { IsIn, IsString, Length, Matches } from 'class-validator';
import type { ProviderKind } from '../../upstreams/upstream.port';
import { CHANGES, IsGivenName } from '../validation/fields.decorator';

/** It travels in a header. */
const HEADER_SAFE = /^[\x21-\x7e]+$/;
const HEADER_SAFE_MESSAGE = { message: '$property must consist of printable characters without blanks' };

export class CreateProviderDto {
  @IsGivenName()
  name!: string;

  @IsIn(['openai'])
  kind!: ProviderKind;

  /** Such as `https://api.openai.com/v1`. */
  @Length(1, 2048)
  @IsString()
  base_url!: string;

  /** Stored encrypted; never shown again. */
  @Length(1, 1024)
  @Matches(HEADER_SAFE, HEADER_SAFE_MESSAGE)
  @IsString()
  api_key!: string;
}

/** Only what is named changes. */
export class UpdateProviderDto extends PartialType(OmitType(CreateProviderDto, ['kind']), CHANGES) {}

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
