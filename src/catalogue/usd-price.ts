import { MoneyFormatError, type NanoUsd, nanoUsdFromDecimal } from '../kernel/money';
import type { BucketPrices } from './price';

/** Far above any price there is; low enough that the dearest call of ten million tokens still fits a bigint column. */
const MAX_USD = 100_000n;
const MAX_NANO_USD = MAX_USD * 1_000_000_000n;

/**
 * A price as people write it (`"2.50"` USD per million tokens, or per request) as integer nano-USD, read as text: no
 * float is involved. Throws MoneyFormatError for anything but a decimal string between 0 and 100,000.
 */
export function nanoUsdOfPrice(text: string): NanoUsd {
  const amount = nanoUsdFromDecimal(text);
  if (amount < 0n || amount > MAX_NANO_USD) throw new MoneyFormatError(`expected a price between 0 and ${MAX_USD} USD`);
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

/**
 * Every bucket gets a price, so that no token is ever free by omission: cached input, cache writes and images cost what
 * input costs, reasoning what output costs, audio the dearer of both.
 */
export function bucketPricesOf(given: UsdPrices): BucketPrices {
  const input = nanoUsdOfPrice(given.input);
  const output = nanoUsdOfPrice(given.output);
  const priceOr = (text: string | undefined, otherwise: NanoUsd): bigint =>
    text === undefined ? otherwise : nanoUsdOfPrice(text);
  return {
    inputUncached: input,
    inputCached: priceOr(given.cachedInput, input),
    cacheWrite: priceOr(given.cacheWrite, input),
    output,
    reasoning: priceOr(given.reasoning, output),
    audio: priceOr(given.audio, input > output ? input : output),
    image: priceOr(given.image, input),
  };
}
