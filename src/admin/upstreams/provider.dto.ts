import { ApiProperty, ApiPropertyOptional, OmitType, PartialType } from '@nestjs/swagger';
import { ArrayMinSize, ArrayUnique, IsArray, IsIn, IsString, Length, Matches } from 'class-validator';
import { API_DIALECTS, PROVIDER_KINDS } from '../../upstreams/provider-dialects';
import type { ApiDialect, ProviderKind } from '../../upstreams/upstream.port';
import { CHANGES, IsGivenName, MayBeAbsent } from '../validation/fields.decorator';

/** It travels in a header. */
const HEADER_SAFE = /^[\x21-\x7e]+$/;
const HEADER_SAFE_MESSAGE = { message: '$property must consist of printable characters without blanks' };

export class CreateProviderDto {
  @IsGivenName()
  name!: string;

  /** How it is called: `openai` with a bearer token, `anthropic` with `x-api-key`. */
  @ApiProperty({ enum: PROVIDER_KINDS })
  @IsIn(PROVIDER_KINDS)
  kind!: ProviderKind;

  /** Such as `https://api.openai.com/v1`; of the kind `anthropic` with or without its `/v1`. */
  @Length(1, 2048)
  @IsString()
  base_url!: string;

  /** Stored encrypted; never shown again. */
  @Length(1, 1024)
  @Matches(HEADER_SAFE, HEADER_SAFE_MESSAGE)
  @IsString()
  api_key!: string;

  /**
   * What it speaks: a call goes in its client's own dialect where the provider speaks it, else it is translated. Left out:
   * by kind and base URL. A provider of the kind `anthropic` speaks anthropic-messages and nothing else.
   */
  @ApiPropertyOptional({ enum: API_DIALECTS, isArray: true })
  @MayBeAbsent()
  @ArrayMinSize(1)
  @ArrayUnique()
  @IsIn(API_DIALECTS, { each: true })
  @IsArray()
  dialects?: ApiDialect[];
}

/** Only what is named changes. */
export class UpdateProviderDto extends PartialType(OmitType(CreateProviderDto, ['kind']), CHANGES) {}

/** Its key is never shown. */
export class ProviderDto {
  id!: string;
  object!: 'provider';
  name!: string;
  @ApiProperty({ enum: PROVIDER_KINDS })
  kind!: ProviderKind;
  base_url!: string;
  @ApiProperty({ enum: API_DIALECTS, isArray: true })
  dialects!: ApiDialect[];
  created_at!: string;
  updated_at!: string;
}
