import { applyDecorators } from '@nestjs/common';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { ArrayMaxSize, ArrayMinSize, IsArray, IsIn, IsObject, IsString, Length, Matches } from 'class-validator';
import { IsInstant, MayBeAbsent } from '../../validation/fields.decorator';
import { ModelProfileDto } from '../price.dto';

export const PRICE_SOURCES = ['litellm', 'genai-prices'] as const;
export type PriceSource = (typeof PRICE_SOURCES)[number];

const MAX_PROVIDERS = 100;
/** Of a list, and of those named by hand. */
export const MAX_MODELS = 10_000;

function AreNames(most: number): PropertyDecorator {
  return applyDecorators(
    MayBeAbsent(),
    ArrayMaxSize(most),
    Length(1, 200, { each: true }),
    IsString({ each: true }),
    IsArray(),
  );
}

export class PreviewPricesDto {
  /** `litellm`: the map in `price_map`; `genai-prices`: the npm package @pydantic/genai-prices that is installed. */
  @IsIn(PRICE_SOURCES)
  source!: PriceSource;

  /**
   * In the format of LiteLLM's `model_prices_and_context_window.json`: model names and what is known of them. Numbers are
   * read as the text that is sent.
   */
  @MayBeAbsent()
  @IsObject()
  @ApiPropertyOptional({ type: 'object', additionalProperties: { type: 'object', additionalProperties: true } })
  price_map?: Readonly<Record<string, unknown>>;

  /** Only models of these, as the list calls them; `genai-prices` needs at least one, the first that has a model counts. */
  @AreNames(MAX_PROVIDERS)
  @ArrayMinSize(1)
  providers?: string[];

  /** Only these models, by their names in the list. Left out: all. */
  @AreNames(MAX_MODELS)
  @ArrayMinSize(1)
  models?: string[];

  /** RFC 3339 with zone, not in the past. Left out: at once. */
  @MayBeAbsent()
  @IsInstant()
  effective_from?: string;
}

export class ImportPricesDto extends PreviewPricesDto {
  /** Of the preview that was looked at: nothing else is imported. */
  @Matches(/^[0-9a-f]{64}$/, { message: '$property must be the digest of a preview' })
  digest!: string;

  /** Models to import in spite of what the preview found; a finding of any other refuses the whole import. */
  @AreNames(MAX_MODELS)
  accept?: string[];

  /** Models of the preview that stay as they are. */
  @AreNames(MAX_MODELS)
  leave_out?: string[];
}

export class PriceChangeDto {
  /** `input`, `cached_input`, `cache_write`, `output`, `reasoning`, `audio`, `image`: USD per million tokens; `per_request`: USD. */
  bucket!: string;
  /** For calls with more input than this; null: from the first token. */
  above_input_tokens!: number | null;
  /** Null where there was none. */
  before_usd!: string | null;
  /** Null where there is none any more: the next shorter length’s counts. */
  after_usd!: string | null;
  /** After ÷ before, four decimals cut off; null where that says nothing. */
  ratio!: string | null;
}

export class PriceFindingDto {
  @ApiProperty({
    enum: [
      'tenfold_up',
      'tenfold_down',
      'unit_slip',
      'became_zero',
      'is_zero',
      'cached_dearer_than_input',
      'output_far_below_input',
      'output_far_above_input',
      'beyond_any_price',
    ],
  })
  code!: string;
  bucket!: string;
  above_input_tokens!: number | null;
  before_usd!: string | null;
  after_usd!: string;
}

export class PreviewedModelDto {
  model!: string;
  @ApiProperty({ enum: ['added', 'changed'] })
  status!: string;
  /** What would cost something else than now. Empty where only the profile changes. */
  @ApiProperty({ type: [PriceChangeDto] })
  changes!: readonly Readonly<PriceChangeDto>[];
  /** What must be accepted by name. */
  @ApiProperty({ type: [PriceFindingDto] })
  findings!: readonly Readonly<PriceFindingDto>[];
  @ApiProperty({ type: ModelProfileDto })
  profile!: Readonly<ModelProfileDto>;
  /** Prices of the list that no bucket has: they are not charged. */
  @ApiProperty({ type: [String] })
  ignored!: readonly string[];
  /** Prices finer than a nano-USD a million tokens were rounded up. */
  is_rounded!: boolean;
}

export class SkippedModelDto {
  model!: string;
  @ApiProperty({
    enum: [
      'not_chat',
      'no_prices',
      'unit_unknown',
      'depends_on_time_of_day',
      'out_of_bounds',
      'bad_name',
      'listed_twice',
      'not_in_list',
    ],
  })
  reason!: string;
  /** Of the list, where one is to blame. */
  field!: string | null;
}

export class PreviewCountsDto {
  added!: number;
  changed!: number;
  unchanged!: number;
  skipped!: number;
  /** Models that must be accepted by name, or left out. */
  found!: number;
}

export class PricePreviewDto {
  object!: 'price_preview';
  source!: string;
  /** For the import of exactly this. */
  digest!: string;
  @ApiProperty({ type: PreviewCountsDto })
  counts!: Readonly<PreviewCountsDto>;
  /** Added and changed, by name. */
  @ApiProperty({ type: [PreviewedModelDto] })
  models!: readonly Readonly<PreviewedModelDto>[];
  @ApiProperty({ type: [String] })
  unchanged!: readonly string[];
  @ApiProperty({ type: [SkippedModelDto] })
  skipped!: readonly Readonly<SkippedModelDto>[];
}

export class ImportedPriceDto {
  model!: string;
  /** The new version; null where only the profile changed. */
  price_id!: string | null;
}

export class PriceImportDto {
  object!: 'price_import';
  source!: string;
  /** Sent again after it was applied: nothing is left to import. */
  @ApiProperty({ type: [ImportedPriceDto] })
  imported!: readonly Readonly<ImportedPriceDto>[];
  @ApiProperty({ type: [String] })
  left_out!: readonly string[];
  unchanged!: number;
}
