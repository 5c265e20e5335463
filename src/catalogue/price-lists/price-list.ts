import { type BucketPrices, type PriceTier, type TokenBucket } from '../price';
import { completePrices, MAX_PRICE_NANO_USD } from '../usd-price';

/** What a list of prices says of one model that it can be priced by. */
export interface ListedPrice {
  readonly model: string;
  readonly perMillionTokens: BucketPrices;
  readonly tiers: readonly PriceTier[];
  readonly perRequestNanoUsd: bigint;
  /** Undefined where the list does not say. */
  readonly maxOutputTokens: number | undefined;
  readonly isReasoning: boolean | undefined;
  /** Prices in the list for what a call is not counted in, such as searches: they are not charged. */
  readonly ignored: readonly string[];
  /** Prices finer than a nano-USD a million tokens were rounded up. */
  readonly isRounded: boolean;
}

export type SkipReason =
  | 'not_chat'
  | 'no_prices'
  | 'unit_unknown'
  | 'depends_on_time_of_day'
  | 'out_of_bounds'
  | 'bad_name'
  | 'listed_twice'
  | 'not_in_list';

export interface SkippedModel {
  readonly model: string;
  readonly reason: SkipReason;
  /** Which field of the list, where one is to blame. */
  readonly field?: string | undefined;
}

export interface PriceList {
  /** What it is, for `price.source`. */
  readonly name: string;
  readonly listed: readonly ListedPrice[];
  readonly skipped: readonly SkippedModel[];
}

/** The same bounds as price.tiers. */
const MAX_TIERS = 16;
const MAX_TIER_TOKENS = 1_000_000_000;
/** As the control plane takes it for a model. */
const MODEL_NAME = /^(?!\s)[^\p{Cc}]{1,200}(?<!\s)$/u;

/** Prices as a list has them: what it leaves out is left out. Thresholds are input tokens; 0 is every call. */
export class ListedBuckets {
  private readonly levels = new Map<number, Map<TokenBucket, bigint>>();
  isRounded = false;

  /** Of two prices for one bucket (audio in and out) the dearer counts: no token may cost less than its price. */
  add(bucket: TokenBucket, aboveInputTokens: number, nanoUsdPerMillion: bigint): void {
    const level = this.levels.get(aboveInputTokens) ?? new Map<TokenBucket, bigint>();
    this.levels.set(aboveInputTokens, level);
    const other = level.get(bucket) ?? 0n;
    level.set(bucket, nanoUsdPerMillion > other ? nanoUsdPerMillion : other);
  }

  /**
   * Every tier with a price for every bucket: what a tier does not name costs what it does below it, and what is named
   * nowhere costs what completePrices says. Why it cannot be had otherwise.
   */
  complete(): Pick<ListedPrice, 'perMillionTokens' | 'tiers'> | SkipReason {
    const thresholds = [...this.levels.keys()].sort((a, b) => a - b);
    if (thresholds.length > MAX_TIERS + 1 || (thresholds.at(-1) ?? 0) > MAX_TIER_TOKENS) return 'out_of_bounds';
    const named = new Map<TokenBucket, bigint>();
    const tiers: PriceTier[] = [];
    for (const aboveInputTokens of [0, ...thresholds.filter((threshold) => threshold > 0)]) {
      for (const [bucket, price] of this.levels.get(aboveInputTokens) ?? []) named.set(bucket, price);
      const { inputUncached, output, ...others } = Object.fromEntries(named) as Partial<BucketPrices>;
      if (inputUncached === undefined || output === undefined) return 'no_prices';
      if ([...named.values()].some((price) => price > MAX_PRICE_NANO_USD)) return 'out_of_bounds';
      tiers.push({ aboveInputTokens, perMillionTokens: completePrices({ inputUncached, output, ...others }) });
    }
    const [base, ...above] = tiers;
    return base ? { perMillionTokens: base.perMillionTokens, tiers: above } : 'no_prices';
  }
}

export function isModelName(name: string): boolean {
  return MODEL_NAME.test(name);
}
