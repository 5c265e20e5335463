import { isIntegerText, isObject } from '../kernel/json-object';
import { nanoUsd } from '../kernel/money';
import { type BucketPrices, type FrozenPrice, type PriceTier, TOKEN_BUCKETS, type TokenBucket } from './price';

/** Names of the buckets in JSON and SQL. */
export const BUCKET_NAMES = {
  inputUncached: 'input_uncached',
  inputCached: 'input_cached',
  cacheWrite: 'cache_write',
  output: 'output',
  reasoning: 'reasoning',
  audio: 'audio',
  image: 'image',
} as const satisfies Record<TokenBucket, string>;

type BucketPricesJson = Readonly<Record<(typeof BUCKET_NAMES)[TokenBucket], string>>;
export type PriceTierJson = BucketPricesJson & { readonly above_input_tokens: number };
type PricesJson = BucketPricesJson & {
  readonly per_request: string;
  readonly multiplier_millionths: string;
  readonly tiers?: readonly PriceTierJson[];
};

const rendered = new WeakMap<FrozenPrice, PricesJson>();

/** Prices as rows and snapshots keep them, nano-USD in strings, tiers only where there are any; rendered once a price. */
export function pricesJson(price: FrozenPrice): PricesJson {
  let json = rendered.get(price);
  if (json === undefined) {
    json = {
      ...bucketsJson(price.perMillionTokens),
      per_request: price.perRequestNanoUsd.toString(),
      multiplier_millionths: price.multiplierMillionths.toString(),
      ...(price.tiers.length === 0 ? {} : { tiers: tiersJson(price.tiers) }),
    };
    rendered.set(price, json);
  }
  return json;
}

/** As price.tiers keeps them too. */
export function tiersJson(tiers: readonly PriceTier[]): PriceTierJson[] {
  return tiers.map((tier) => ({ above_input_tokens: tier.aboveInputTokens, ...bucketsJson(tier.perMillionTokens) }));
}

/** The prices frozen in a row, as pricesJson wrote them; undefined where they are none. */
export function readPrices(prices: unknown, version: string | null): FrozenPrice | undefined {
  if (!isObject(prices)) return undefined;
  const perMillionTokens = readBuckets(prices);
  const tiers = readTiers(prices.tiers ?? []);
  const { per_request: perRequest, multiplier_millionths: multiplier } = prices;
  if (!perMillionTokens || !tiers || !isIntegerText(perRequest) || !isIntegerText(multiplier)) return undefined;
  return {
    version,
    perMillionTokens,
    tiers,
    perRequestNanoUsd: nanoUsd(perRequest),
    multiplierMillionths: BigInt(multiplier),
  };
}

/** As tiersJson wrote them; undefined where they are none, or not ascending. */
export function readTiers(value: unknown): readonly PriceTier[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const tiers: PriceTier[] = [];
  let before = 0;
  for (const tier of value) {
    const perMillionTokens = readBuckets(tier);
    const aboveInputTokens: unknown = isObject(tier) ? tier.above_input_tokens : undefined;
    if (!perMillionTokens || typeof aboveInputTokens !== 'number') return undefined;
    if (!Number.isSafeInteger(aboveInputTokens) || aboveInputTokens <= before) return undefined;
    before = aboveInputTokens;
    tiers.push({ aboveInputTokens, perMillionTokens });
  }
  return tiers;
}

function bucketsJson(prices: BucketPrices): BucketPricesJson {
  return {
    input_uncached: prices.inputUncached.toString(),
    input_cached: prices.inputCached.toString(),
    cache_write: prices.cacheWrite.toString(),
    output: prices.output.toString(),
    reasoning: prices.reasoning.toString(),
    audio: prices.audio.toString(),
    image: prices.image.toString(),
  };
}

function readBuckets(value: unknown): BucketPrices | undefined {
  if (!isObject(value)) return undefined;
  const prices = TOKEN_BUCKETS.map((bucket) => value[BUCKET_NAMES[bucket]]);
  if (!prices.every(isIntegerText)) return undefined;
  return Object.fromEntries(TOKEN_BUCKETS.map((bucket, at) => [bucket, BigInt(prices[at] ?? 0)])) as BucketPrices;
}
