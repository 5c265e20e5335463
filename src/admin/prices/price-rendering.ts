import type { BucketPrices, ModelProfile } from '../../catalogue/price';
import type { Price } from '../../catalogue/price.entity';
import { nanoUsd, toDecimalUsd } from '../../kernel/money';
import type { ModelProfileDto, PriceDto, ShownBucketPricesDto } from './price.dto';
import { bucketPricesOfRow } from './price-rows';

export function renderPrice(price: Price, profile: ModelProfile): Readonly<PriceDto> {
  return {
    id: price.id,
    object: 'price',
    model: price.model,
    effective_from: price.effectiveFrom.toISOString(),
    ...renderBuckets(bucketPricesOfRow(price)),
    tiers: price.tiers.map(({ aboveInputTokens, perMillionTokens }) => ({
      above_input_tokens: aboveInputTokens,
      ...renderBuckets(perMillionTokens),
    })),
    per_request_usd: usd(price.perRequestNanoUsd),
    profile: renderProfile(profile),
    source: price.source,
    created_at: price.createdAt.toISOString(),
  };
}

export function renderBuckets(prices: BucketPrices): Readonly<ShownBucketPricesDto> {
  return {
    input_usd_per_mtok: usd(prices.inputUncached),
    cached_input_usd_per_mtok: usd(prices.inputCached),
    cache_write_usd_per_mtok: usd(prices.cacheWrite),
    output_usd_per_mtok: usd(prices.output),
    reasoning_usd_per_mtok: usd(prices.reasoning),
    audio_usd_per_mtok: usd(prices.audio),
    image_usd_per_mtok: usd(prices.image),
  };
}

export function renderProfile(profile: ModelProfile): Readonly<ModelProfileDto> {
  return {
    is_reasoning: profile.isReasoning,
    default_output_reserve: profile.defaultOutputReserveTokens,
    max_output_tokens: profile.maxOutputTokens,
    tokens_per_image: profile.tokensPerImage,
  };
}

function usd(price: bigint): string {
  return toDecimalUsd(nanoUsd(price));
}
