import { type FrozenPrice, TOKEN_BUCKETS, type TokenBucket, type TokenCounts } from '../../catalogue/price';
import { nanoUsd } from '../../kernel/money';
import type { CountingMethod, Delivered } from '../charge';

/** One column of billing_transaction and one price of its `prices` a bucket. */
const NAMES: Readonly<Record<TokenBucket, string>> = {
  inputUncached: 'input_uncached',
  inputCached: 'input_cached',
  cacheWrite: 'cache_write',
  output: 'output',
  reasoning: 'reasoning',
  audio: 'audio',
  image: 'image',
};
const METHODS: readonly unknown[] = ['usage', 'tokenizer', 'estimated'] satisfies CountingMethod[];

/** As billing_transaction.checkpoint keeps it. */
export function checkpointOf({ tokens, method, servedBy }: Delivered): Readonly<Record<string, unknown>> {
  return {
    ...Object.fromEntries(TOKEN_BUCKETS.map((bucket) => [`tokens_${NAMES[bucket]}`, tokens[bucket]])),
    counting_method: method,
    upstream_id: servedBy.upstreamId,
    upstream_name: servedBy.upstreamName,
    provider_name: servedBy.providerName,
  };
}

/** Undefined where it is none that this version wrote: then nothing is charged by it. */
export function readCheckpoint(value: unknown): Delivered | undefined {
  if (!isRecord(value)) return undefined;
  const { counting_method: method, upstream_id, upstream_name, provider_name } = value;
  const counts = TOKEN_BUCKETS.map((bucket) => value[`tokens_${NAMES[bucket]}`]);
  if (!counts.every(isCount) || !isMethod(method)) return undefined;
  if (!isText(upstream_id) || !isText(upstream_name) || !isText(provider_name)) return undefined;
  return {
    tokens: byBucket(counts),
    method,
    servedBy: { upstreamId: upstream_id, upstreamName: upstream_name, providerName: provider_name },
  };
}

/** The prices frozen in a row, as pricesJson wrote them; undefined where they are none. */
export function readPrices(prices: unknown, version: string | null): FrozenPrice | undefined {
  if (!isRecord(prices)) return undefined;
  const perMillion = TOKEN_BUCKETS.map((bucket) => prices[NAMES[bucket]]);
  const { per_request: perRequest, multiplier_millionths: multiplier } = prices;
  if (!perMillion.every(isInteger) || !isInteger(perRequest) || !isInteger(multiplier)) return undefined;
  return {
    version,
    perMillionTokens: Object.fromEntries(
      TOKEN_BUCKETS.map((bucket, at) => [bucket, BigInt(perMillion[at] ?? 0)]),
    ) as FrozenPrice['perMillionTokens'],
    perRequestNanoUsd: nanoUsd(perRequest),
    multiplierMillionths: BigInt(multiplier),
  };
}

function byBucket(counts: readonly number[]): TokenCounts {
  return Object.fromEntries(TOKEN_BUCKETS.map((bucket, at) => [bucket, counts[at] ?? 0])) as TokenCounts;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function isMethod(value: unknown): value is CountingMethod {
  return METHODS.includes(value);
}

/** Of nano-USD, which JSON carries as text. */
function isInteger(value: unknown): value is string {
  return isText(value) && /^\d{1,19}$/.test(value);
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}
