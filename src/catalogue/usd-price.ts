import { MoneyFormatError, type NanoUsd, nanoUsdFromDecimal } from '../kernel/money';
import type { BucketPrices, TokenBucket } from './price';

/** Far above any price there is; low enough that the dearest call of ten million tokens still fits a bigint column. */
const MAX_USD = 100_000n;
/** Of any price: per million tokens, or per request. */
export const MAX_PRICE_NANO_USD = MAX_USD * 1_000_000_000n;

/**
 * A price as people write it (`"2.50"` USD per million tokens, or per request) as integer nano-USD, read as text: no
 * float is involved. Throws MoneyFormatError for anything but a decimal string between 0 and 100,000.
 */
export function nanoUsdOfPrice(text: string): NanoUsd {
  const amount = nanoUsdFromDecimal(text);
  if (amount < 0n || amount > MAX_PRICE_NANO_USD)
    throw new MoneyFormatError(`expected a price between 0 and ${MAX_USD} USD`);
  return amount;
}

/** Prices per bucket as given: decimal USD strings per million tokens. */
export interface UsdPrices {
  readonly input: string;
  readonly output: string;
  readonly cachedInput?: string | undefined;
  readonly cacheWrite?: string | undefined;
  readonly reasoning?: string | undefined;
  readonly audio?: string | undefined;
  readonly image?: string | undefined;
}

export function bucketPricesOf(given: UsdPrices): BucketPrices {
  const priceOf = (text: string | undefined): NanoUsd | undefined =>
    text === undefined ? undefined : nanoUsdOfPrice(text);
  return completePrices({
    inputUncached: nanoUsdOfPrice(given.input),
    inputCached: priceOf(given.cachedInput),
    cacheWrite: priceOf(given.cacheWrite),
    output: nanoUsdOfPrice(given.output),
    reasoning: priceOf(given.reasoning),
    audio: priceOf(given.audio),
    image: priceOf(given.image),
  });
}

type Required = 'inputUncached' | 'output';
type GivenPrices = Pick<BucketPrices, Required> &
  Readonly<Partial<Record<Exclude<TokenBucket, Required>, bigint | undefined>>>;

/**
 * Every bucket gets a price, so that no token is ever free by omission: cached input, cache writes and images cost what
 * input costs, reasoning what output costs, audio the dearer of both.
 */
export function completePrices(given: GivenPrices): BucketPrices {
  const { inputUncached, output } = given;
  return {
    inputUncached,
    inputCached: given.inputCached ?? inputUncached,
    cacheWrite: given.cacheWrite ?? inputUncached,
    output,
    reasoning: given.reasoning ?? output,
    audio: given.audio ?? (inputUncached > output ? inputUncached : output),
    image: given.image ?? inputUncached,
  };
}
