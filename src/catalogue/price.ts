import { ceilDiv, type NanoUsd, nanoUsd } from '../kernel/money';

/**
 * Token buckets never overlap (money.md, Units). This order is the order of every array, column list and receipt line.
 * `output` is without reasoning; `inputUncached` is without cached input.
 */
export const TOKEN_BUCKETS = [
  'inputUncached',
  'inputCached',
  'cacheWrite',
  'output',
  'reasoning',
  'audio',
  'image',
] as const;
export type TokenBucket = (typeof TOKEN_BUCKETS)[number];

/** Non-negative integer token counts. */
export type TokenCounts = Readonly<Record<TokenBucket, number>>;

export const NO_TOKENS: TokenCounts = {
  inputUncached: 0,
  inputCached: 0,
  cacheWrite: 0,
  output: 0,
  reasoning: 0,
  audio: 0,
  image: 0,
};

/** Integer nano-USD per million tokens, by bucket. */
export type BucketPrices = Readonly<Record<TokenBucket, bigint>>;

/** Everything the cost of a call depends on, frozen in the hold and the row at the reserve. */
export interface FrozenPrice {
  /** Row of the price book (`price.id`); null where the tenant's policy serves unpriced models free. */
  readonly version: string | null;
  readonly perMillionTokens: BucketPrices;
  readonly perRequestNanoUsd: NanoUsd;
  /** Integer millionths: 1_000_000 is × 1. */
  readonly multiplierMillionths: bigint;
}

const MILLION = 1_000_000n;
/** Prices are per million tokens, the multiplier in millionths. */
const SCALE = MILLION * MILLION;

/** Σ tokensᵢ × priceᵢ in nano-USD × 10⁶, unrounded. */
export function weightedTokens(tokens: TokenCounts, prices: BucketPrices): bigint {
  let sum = 0n;
  for (const bucket of TOKEN_BUCKETS) {
    const count = tokens[bucket];
    if (count > 0) sum += BigInt(count) * prices[bucket];
  }
  return sum;
}

/** cost = ceilDiv((Σ tokensᵢ × priceᵢ + perRequest × 10⁶) × multiplier, 10¹²): one rounding a request, up. */
export function costOf(tokens: TokenCounts, price: FrozenPrice): NanoUsd {
  const unrounded =
    (weightedTokens(tokens, price.perMillionTokens) + price.perRequestNanoUsd * MILLION) * price.multiplierMillionths;
  return nanoUsd(ceilDiv(unrounded, SCALE));
}

/** What an estimate is made of; see estimateTokens. */
export interface EstimateInput {
  readonly textBytes: number;
  readonly images: number;
  readonly maxOutputTokens: number | undefined;
  readonly choices: number;
}

export interface ModelProfile {
  readonly model: string;
  readonly isReasoning: boolean;
  /** Output tokens reserved when the caller names no maximum. */
  readonly defaultOutputReserveTokens: number;
  /** The model's own ceiling, if known. */
  readonly maxOutputTokens: number | null;
  readonly tokensPerImage: number;
}

/**
 * Cost to reserve for a call (money.md, Estimate): text bytes / 3 at the dearest input bucket, images by the model's
 * constant, output at the dearer of output and reasoning, × choices. No tokenizer on the hot path.
 */
export function estimateCost(input: EstimateInput, profile: ModelProfile, price: FrozenPrice): NanoUsd {
  const p = price.perMillionTokens;
  const dearestInput = max(p.inputUncached, p.inputCached, p.cacheWrite);
  const dearestOutput = max(p.output, p.reasoning);
  const wanted = input.maxOutputTokens ?? profile.defaultOutputReserveTokens;
  const outputTokens = profile.maxOutputTokens === null ? wanted : Math.min(wanted, profile.maxOutputTokens);
  const weighted =
    BigInt(Math.ceil(input.textBytes / 3)) * dearestInput +
    BigInt(input.images * profile.tokensPerImage) * max(p.image, dearestInput) +
    BigInt(outputTokens) * BigInt(input.choices) * dearestOutput;
  const unrounded = (weighted + price.perRequestNanoUsd * MILLION) * price.multiplierMillionths;
  return nanoUsd(ceilDiv(unrounded, SCALE));
}

function max(first: bigint, ...rest: bigint[]): bigint {
  return rest.reduce((a, b) => (b > a ? b : a), first);
}
