import { ApiProperty } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  IsArray,
  IsBoolean,
  IsInt,
  IsISO8601,
  IsObject,
  IsOptional,
  Matches,
  Max,
  Min,
  ValidateNested,
} from 'class-validator';
import { NumberedPageQuery } from '../paging/page-query.dto';
import { IsGivenName, MayBeAbsent } from '../validation/fields.decorator';
import { IsUsdPrice } from '../validation/is-usd.decorator';

const MAX_TOKENS = 100_000_000;
/** The database has the same bounds. */
export const MAX_TIERS = 16;
export const MAX_TIER_TOKENS = 1_000_000_000;

/** Decimal USD strings per million tokens. A bucket left out costs what the bucket it is part of costs. */
export class BucketPricesDto {
  @IsUsdPrice()
  input_usd_per_mtok!: string;

  @IsUsdPrice()
  output_usd_per_mtok!: string;

  /** Left out: as input. */
  @MayBeAbsent()
  @IsUsdPrice()
  cached_input_usd_per_mtok?: string;

  /** Left out: as input. */
  @MayBeAbsent()
  @IsUsdPrice()
  cache_write_usd_per_mtok?: string;

  /** Left out: as output. */
  @MayBeAbsent()
  @IsUsdPrice()
  reasoning_usd_per_mtok?: string;

  /** Left out: the dearer of input and output. */
  @MayBeAbsent()
  @IsUsdPrice()
  audio_usd_per_mtok?: string;

  /** Left out: as input. */
  @MayBeAbsent()
  @IsUsdPrice()
  image_usd_per_mtok?: string;
}

export class CreatePriceTierDto extends BucketPricesDto {
  /** From one input token more on (uncached, cached and cache write together) every token of a call costs this. */
  @Min(1)
  @Max(MAX_TIER_TOKENS)
  @IsInt()
  above_input_tokens!: number;
}

export class CreatePriceDto extends BucketPricesDto {
  /** As clients name it. */
  @IsGivenName()
  model!: string;

  /** Prices of longer calls, by ascending length. Left out: the length does not matter. */
  @MayBeAbsent()
  @IsArray()
  @ArrayMaxSize(MAX_TIERS)
  @IsObject({ each: true })
  @ValidateNested({ each: true })
  @Type(() => CreatePriceTierDto)
  tiers?: CreatePriceTierDto[];

  /** For each call, beside its tokens. Left out: nothing. */
  @MayBeAbsent()
  @IsUsdPrice()
  per_request_usd?: string;

  /** RFC 3339 with zone, not in the past: calls are never priced anew. Left out: at once. */
  @MayBeAbsent()
  @Matches(/(Z|[+-]\d{2}:?\d{2})$/, { message: '$property must name its zone, such as 2027-01-01T00:00:00Z' })
  @IsISO8601({ strict: true })
  effective_from?: string;

  /** A model that thinks before it answers: more output is reserved. Kept as it was where left out. */
  @MayBeAbsent()
  @IsBoolean()
  is_reasoning?: boolean;

  /** Output tokens reserved for a call that names no maximum. Left out: 1,024; reasoning models 8,192. */
  @MayBeAbsent()
  @Min(1)
  @Max(MAX_TOKENS)
  @IsInt()
  default_output_reserve?: number;

  /** The model's own ceiling; null: not known. Kept as it was where left out. */
  @IsOptional()
  @Min(1)
  @Max(MAX_TOKENS)
  @IsInt()
  max_output_tokens?: number | null;

  /** What an image in a prompt is reserved as. Left out: 1,500. */
  @MayBeAbsent()
  @Min(0)
  @Max(MAX_TOKENS)
  @IsInt()
  tokens_per_image?: number;
}

export class PriceQuery extends NumberedPageQuery {
  @MayBeAbsent()
  @IsGivenName()
  model?: string;
}

export class ModelProfileDto {
  is_reasoning!: boolean;
  default_output_reserve!: number;
  max_output_tokens!: number | null;
  tokens_per_image!: number;
}

export class ShownBucketPricesDto {
  input_usd_per_mtok!: string;
  cached_input_usd_per_mtok!: string;
  cache_write_usd_per_mtok!: string;
  output_usd_per_mtok!: string;
  reasoning_usd_per_mtok!: string;
  audio_usd_per_mtok!: string;
  image_usd_per_mtok!: string;
}

export class PriceTierDto extends ShownBucketPricesDto {
  above_input_tokens!: number;
}

/** One version of a model's price: what a receipt names. Never changed; a newer version replaces it. */
export class PriceDto extends ShownBucketPricesDto {
  id!: string;
  object!: 'price';
  model!: string;
  effective_from!: string;
  /** For calls with more input than this, every token of them; the highest that is reached counts. */
  @ApiProperty({ type: [PriceTierDto] })
  tiers!: readonly Readonly<PriceTierDto>[];
  per_request_usd!: string;
  /** What estimates know of the model now. */
  profile!: ModelProfileDto;
  /** `manual`, or the list it was imported from. */
  source!: string;
  created_at!: string;
}
