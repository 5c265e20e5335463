import { type BucketPrices, TOKEN_BUCKETS, type TokenBucket } from '../price';
import type { ListedPrice } from './price-list';

/** Something about a listed price that a person must have looked at before calls are charged by it. */
export interface GateFinding {
  readonly code:
    | 'tenfold_up'
    | 'tenfold_down'
    | 'unit_slip'
    | 'became_zero'
    | 'is_zero'
    | 'cached_dearer_than_input'
    | 'output_far_below_input'
    | 'output_far_above_input'
    | 'beyond_any_price';
  readonly bucket: TokenBucket | 'per_request';
  /** Of a tier; null: of every call. */
  readonly aboveInputTokens: number | null;
  /** Null where there was none. */
  readonly before: bigint | null;
  readonly after: bigint;
}

/** The prices a model has in the book, as far as they are compared. */
export type StandingPrice = Pick<ListedPrice, 'perMillionTokens' | 'tiers' | 'perRequestNanoUsd'>;

const JUMP = 10n;
/** A price per token, per thousand or per million tokens read for another: by a factor near one of these. */
const SLIPS = [1_000n, 1_000_000n];
/** In practice output costs 1 to 10 times what input does. */
const OUTPUT_BELOW_INPUT = 5n;
const OUTPUT_ABOVE_INPUT = 100n;
/** A million input or output tokens for less than 0.1 cent or more than 1,000 USD; the cheapest there are cost half a cent. */
const LEAST_NANO_USD = 1_000_000n;
const MOST_NANO_USD = 1_000_000_000_000n;

/** What is suspicious of a listed price, by itself and beside the one in force; nothing where all is as one expects. */
export function gateFindings(listed: ListedPrice, standing: StandingPrice | undefined): GateFinding[] {
  const levels = [
    { aboveInputTokens: null, prices: listed.perMillionTokens },
    ...listed.tiers.map(({ aboveInputTokens, perMillionTokens }) => ({ aboveInputTokens, prices: perMillionTokens })),
  ];
  const findings = levels.flatMap(({ aboveInputTokens, prices }) => {
    const before = standing && pricesAbove(standing, aboveInputTokens ?? 0);
    return bucketFindings(prices, before).map((finding) => ({ ...finding, aboveInputTokens }));
  });
  const jump = standing && jumpFinding(standing.perRequestNanoUsd, listed.perRequestNanoUsd);
  if (jump) {
    const { perRequestNanoUsd: after } = listed;
    findings.push({
      code: jump,
      bucket: 'per_request',
      aboveInputTokens: null,
      before: standing.perRequestNanoUsd,
      after,
    });
  }
  return findings;
}

/** What the standing price charges the first call that is long enough for the threshold. */
function pricesAbove({ perMillionTokens, tiers }: StandingPrice, aboveInputTokens: number): BucketPrices {
  return tiers.findLast((tier) => tier.aboveInputTokens <= aboveInputTokens)?.perMillionTokens ?? perMillionTokens;
}

type BucketFinding = Omit<GateFinding, 'aboveInputTokens'>;

function bucketFindings(after: BucketPrices, before: BucketPrices | undefined): BucketFinding[] {
  const findings: BucketFinding[] = [];
  const find = (code: GateFinding['code'], bucket: TokenBucket): void => {
    findings.push({ code, bucket, before: before?.[bucket] ?? null, after: after[bucket] });
  };
  for (const bucket of TOKEN_BUCKETS) {
    const jump = before && jumpFinding(before[bucket], after[bucket]);
    if (jump) find(jump, bucket);
  }
  for (const bucket of ['inputUncached', 'output'] as const) {
    const price = after[bucket];
    if (price === 0n && before?.[bucket] === undefined) find('is_zero', bucket);
    if (price !== 0n && (price < LEAST_NANO_USD || price > MOST_NANO_USD)) find('beyond_any_price', bucket);
  }
  const { inputUncached: input, inputCached: cached, output } = after;
  if (cached > input) find('cached_dearer_than_input', 'inputCached');
  if (output > 0n && output * OUTPUT_BELOW_INPUT < input) find('output_far_below_input', 'output');
  if (input > 0n && output > input * OUTPUT_ABOVE_INPUT) find('output_far_above_input', 'output');
  return findings;
}

function jumpFinding(before: bigint, after: bigint): GateFinding['code'] | undefined {
  if (before === after || before === 0n) return undefined;
  if (after === 0n) return 'became_zero';
  const [less, more] = before < after ? [before, after] : [after, before];
  if (more < less * JUMP) return undefined;
  const isSlip = SLIPS.some((factor) => more * 2n >= less * factor && more <= less * factor * 2n);
  if (isSlip) return 'unit_slip';
  return after > before ? 'tenfold_up' : 'tenfold_down';
}
