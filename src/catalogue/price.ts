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

/** What every token of a call costs whose input is longer than this. */
export interface PriceTier {
  readonly aboveInputTokens: number;
  readonly perMillionTokens: BucketPrices;
}

/** Everything the cost of a call depends on, frozen in the hold and the row at the reserve. */
export interface FrozenPrice {
  /** Row of the price book (`price.id`); null where the tenant's policy serves unpriced models free. */
  readonly version: string | null;
  readonly perMillionTokens: BucketPrices;
  /** Ascending; none where the length of a call does not matter. */
  readonly tiers: readonly PriceTier[];
  readonly perRequestNanoUsd: NanoUsd;
  /** Integer millionths: 1_000_000 is × 1. */
  readonly multiplierMillionths: bigint;
}

/** A price as the book says, whoever calls. */
export const UNSCALED_MULTIPLIER_MILLIONTHS = 1_000_000n;

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

/**
 * The bucket prices of a call: those of the highest tier whose threshold its whole input (uncached, cached and cache write)
 * is above, for every bucket; without one, the price's own. SQL has the same rule (prices_in_force).
 */
export function pricesInForce(price: FrozenPrice, tokens: TokenCounts): BucketPrices {
  let inForce = price.perMillionTokens;
  if (price.tiers.length === 0) return inForce;
  const inputTokens = tokens.inputUncached + tokens.inputCached + tokens.cacheWrite;
  for (const tier of price.tiers) {
    if (tier.aboveInputTokens >= inputTokens) break;
    inForce = tier.perMillionTokens;
  }
  return inForce;
}

/** cost = ceilDiv((Σ tokensᵢ × priceᵢ + perRequest × 10⁶) × multiplier, 10¹²): one rounding a request, up. */
export function costOf(tokens: TokenCounts, price: FrozenPrice): NanoUsd {
  return rounded(weightedTokens(tokens, pricesInForce(price, tokens)), price);
}

/** Of Σ tokensᵢ × priceᵢ. */
function rounded(weighted: bigint, price: FrozenPrice): NanoUsd {
  const unrounded = (weighted + price.perRequestNanoUsd * MILLION) * price.multiplierMillionths;
  return nanoUsd(ceilDiv(unrounded, SCALE));
}

/** What an estimate is made of; see estimateCost. */
export interface EstimateInput {
  readonly textBytes: number;
  readonly images: number;
  readonly audioParts: number;
  /** Of audio that is sent along, as base64. */
  readonly audioDataBytes: number;
  /** 0: the answer is no text (embeddings). Undefined: the caller named none. */
  readonly maxOutputTokens: number | undefined;
  readonly choices: number;
  readonly asksForAudio: boolean;
  readonly asksForImages: boolean;
}

export interface ModelProfile {
  readonly model: string;
  readonly isReasoning: boolean;
  /** Output tokens reserved when the caller names no maximum. */
  readonly defaultOutputReserveTokens: number;
  /** The model's own ceiling, if known. */
  readonly maxOutputTokens: number | null;
  /** Of an image; also the least that a recording is taken for. */
  readonly tokensPerImage: number;
}

/** Of text, as an estimate takes it. */
export const TEXT_BYTES_PER_TOKEN = 3;
/**
 * Speech at 6 kbit/s, the least that codecs for it offer, is 1,000 characters of base64 a second; models take at most 32
 * tokens for one. Uncompressed audio is reserved for generously.
 */
const AUDIO_DATA_BYTES_PER_TOKEN = 24;

export interface TokenEstimate {
  readonly inputTokens: number;
  /** Of all choices together. */
  readonly outputTokens: number;
}

/** Tokens to reserve for a call: its input as estimated, its output as it may become. */
export function estimateTokens(input: EstimateInput, profile: ModelProfile): TokenEstimate {
  const wanted = input.maxOutputTokens ?? profile.defaultOutputReserveTokens;
  const perChoice = profile.maxOutputTokens === null ? wanted : Math.min(wanted, profile.maxOutputTokens);
  return { inputTokens: inputTokensOf(input, profile), outputTokens: perChoice * input.choices };
}

/**
 * Cost to reserve for a call (money.md, Estimate): text bytes / 3, images by the model's constant and audio by its
 * length, all at the dearest bucket that the request's input may be counted in; output at the dearest that its answer
 * may be counted in, × choices; all at the dearest of the tiers that the input may reach. No usage of at most that many
 * tokens costs more, however it is split among the buckets. No tokenizer on the hot path.
 */
export function estimateCost(input: EstimateInput, profile: ModelProfile, price: FrozenPrice): NanoUsd {
  const tokens = estimateTokens(input, profile);
  let weighted = dearestWeighted(tokens, input, price.perMillionTokens);
  for (const tier of price.tiers) {
    if (tier.aboveInputTokens >= tokens.inputTokens) break;
    weighted = max(weighted, dearestWeighted(tokens, input, tier.perMillionTokens));
  }
  return rounded(weighted, price);
}

function dearestWeighted(tokens: TokenEstimate, input: EstimateInput, p: BucketPrices): bigint {
  const dearestInput = max(
    p.inputUncached,
    p.inputCached,
    p.cacheWrite,
    input.audioParts > 0 ? p.audio : 0n,
    input.images > 0 ? p.image : 0n,
  );
  const dearestOutput = max(
    p.output,
    p.reasoning,
    input.asksForAudio ? p.audio : 0n,
    input.asksForImages ? p.image : 0n,
  );
  return BigInt(tokens.inputTokens) * dearestInput + BigInt(tokens.outputTokens) * dearestOutput;
}

function inputTokensOf(input: EstimateInput, profile: ModelProfile): number {
  const audioTokens = Math.max(
    input.audioParts * profile.tokensPerImage,
    Math.ceil(input.audioDataBytes / AUDIO_DATA_BYTES_PER_TOKEN),
  );
  return Math.ceil(input.textBytes / TEXT_BYTES_PER_TOKEN) + input.images * profile.tokensPerImage + audioTokens;
}

function max(first: bigint, ...rest: bigint[]): bigint {
  return rest.reduce((a, b) => (b > a ? b : a), first);
}
