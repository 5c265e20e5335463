import { TOKEN_BUCKETS, type TokenCounts } from '../../catalogue/price';
import { BUCKET_NAMES } from '../../catalogue/price-json';
import { isIntegerText, isObject } from '../../kernel/json-object';
import { nanoUsd, ZERO_NANO_USD } from '../../kernel/money';
import type { CountingMethod, Delivered, HouseCost } from '../charge';
import { houseCostsJson } from './charge-rows';

const METHODS: readonly unknown[] = ['usage', 'tokenizer', 'estimated'] satisfies CountingMethod[];

/** As billing_transaction.checkpoint keeps it. */
export function checkpointOf(delivered: Delivered): Readonly<Record<string, unknown>> {
  const { tokens, method, servedBy, upstreamCost, houseCosts } = delivered;
  return {
    ...Object.fromEntries(TOKEN_BUCKETS.map((bucket) => [`tokens_${BUCKET_NAMES[bucket]}`, tokens[bucket]])),
    counting_method: method,
    upstream_id: servedBy.upstreamId,
    upstream_name: servedBy.upstreamName,
    provider_name: servedBy.providerName,
    upstream_cost_nano_usd: upstreamCost.toString(),
    house_costs: houseCostsJson(houseCosts),
  };
}

/** Undefined where it is none that this version wrote: then nothing is charged by it. */
export function readCheckpoint(value: unknown): Delivered | undefined {
  if (!isObject(value)) return undefined;
  const { counting_method: method, upstream_id, upstream_name, provider_name } = value;
  const counts = TOKEN_BUCKETS.map((bucket) => value[`tokens_${BUCKET_NAMES[bucket]}`]);
  if (!counts.every(isCount) || !isMethod(method)) return undefined;
  if (!isText(upstream_id) || !isText(upstream_name) || !isText(provider_name)) return undefined;
  return {
    tokens: byBucket(counts),
    method,
    servedBy: { upstreamId: upstream_id, upstreamName: upstream_name, providerName: provider_name },
    upstreamCost: isIntegerText(value.upstream_cost_nano_usd) ? nanoUsd(value.upstream_cost_nano_usd) : ZERO_NANO_USD,
    houseCosts: readHouseCosts(value.house_costs),
  };
}

/** None where it is none that this version wrote: what attempts cost is no reason not to charge what was delivered. */
function readHouseCosts(value: unknown): HouseCost[] {
  if (!Array.isArray(value)) return [];
  return value
    .filter(isObject)
    .flatMap(({ upstream_id, amount_nano_usd: amount, is_served }) =>
      isText(upstream_id) && isIntegerText(amount)
        ? [{ upstreamId: upstream_id, amount: nanoUsd(amount), isServed: is_served === true }]
        : [],
    );
}

function byBucket(counts: readonly number[]): TokenCounts {
  return Object.fromEntries(TOKEN_BUCKETS.map((bucket, at) => [bucket, counts[at] ?? 0])) as TokenCounts;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function isMethod(value: unknown): value is CountingMethod {
  return METHODS.includes(value);
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}
