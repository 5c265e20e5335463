import type { TokenBucket } from '../price';
import { MAX_PRICE_NANO_USD } from '../usd-price';
import { scaledDecimal } from './exact-decimal';
import { isModelName, ListedBuckets, type ListedPrice, type PriceList, type SkippedModel } from './price-list';

/** A model of LiteLLM's map; its numbers as the text that stood in the file. */
export type LiteLlmEntry = Readonly<Record<string, unknown>>;

/** USD a token is nano-USD a million tokens ÷ 10^15. */
const PER_TOKEN_POWER = 15;
const PER_REQUEST_POWER = 9;
const MAX_OUTPUT_TOKENS = 100_000_000;

/** What the gateway serves. */
const CHAT_MODES: readonly unknown[] = ['chat', 'responses'];

const BUCKETS: Readonly<Record<string, TokenBucket>> = {
  input_cost_per_token: 'inputUncached',
  cache_read_input_token_cost: 'inputCached',
  cache_creation_input_token_cost: 'cacheWrite',
  output_cost_per_token: 'output',
  output_cost_per_reasoning_token: 'reasoning',
  input_cost_per_audio_token: 'audio',
  output_cost_per_audio_token: 'audio',
  input_cost_per_image_token: 'image',
  output_cost_per_image_token: 'image',
};
const PER_REQUEST: readonly string[] = ['input_cost_per_request', 'output_cost_per_request'];
/** Prices by length that are no thresholds for the whole call: not ours to guess. */
const OTHER_TIERS = 'tiered_pricing';
const ABOVE = /^(.+)_above_(\d{1,6})k_tokens$/;

/**
 * Reads the map of `model_prices_and_context_window.json`, numbers as text. Of entries for other offers (batches, flex,
 * priority) nothing is taken: calls are served as the standard one.
 * @param providers only these (`litellm_provider`), where given
 */
export function litellmList(
  map: Readonly<Record<string, LiteLlmEntry>>,
  providers: ReadonlySet<string> | undefined,
): PriceList {
  const listed: ListedPrice[] = [];
  const skipped: SkippedModel[] = [];
  for (const [model, entry] of Object.entries(map)) {
    if (providers && !providers.has(String(entry.litellm_provider))) continue;
    const read = readEntry(model, entry);
    if ('reason' in read) skipped.push(read);
    else listed.push(read);
  }
  return { name: 'litellm', listed, skipped };
}

function readEntry(model: string, entry: LiteLlmEntry): ListedPrice | SkippedModel {
  if (!isModelName(model)) return { model: model.slice(0, 200), reason: 'bad_name' };
  if (!CHAT_MODES.includes(entry.mode)) return { model, reason: 'not_chat' };
  if (OTHER_TIERS in entry) return { model, reason: 'unit_unknown', field: OTHER_TIERS };
  const prices = new ListedBuckets();
  const ignored: string[] = [];
  let perRequestNanoUsd = 0n;
  for (const [field, value] of Object.entries(entry)) {
    if (!field.includes('cost') || value === null) continue;
    const unit = unitOf(field);
    if (unit === undefined) {
      ignored.push(field);
      continue;
    }
    const power = unit === 'request' ? PER_REQUEST_POWER : PER_TOKEN_POWER;
    const scaled = typeof value === 'string' ? scaledDecimal(value, power) : undefined;
    if (!scaled) return { model, reason: 'unit_unknown', field };
    prices.isRounded ||= !scaled.isExact;
    if (unit === 'request') perRequestNanoUsd += scaled.value;
    else prices.add(unit.bucket, unit.aboveInputTokens, scaled.value);
  }
  const complete = perRequestNanoUsd > MAX_PRICE_NANO_USD ? 'out_of_bounds' : prices.complete();
  if (typeof complete === 'string') return skippedFor(model, complete, ignored);
  const { isRounded } = prices;
  return { model, ...complete, perRequestNanoUsd, ...profileOf(entry), ignored, isRounded };
}

/** A model whose only prices are for something else has prices, but not ones that its calls are counted in. */
function skippedFor(model: string, reason: SkippedModel['reason'], ignored: readonly string[]): SkippedModel {
  const [field] = ignored;
  return reason === 'no_prices' && field !== undefined ? { model, reason: 'unit_unknown', field } : { model, reason };
}

function unitOf(
  field: string,
): 'request' | { readonly bucket: TokenBucket; readonly aboveInputTokens: number } | undefined {
  if (PER_REQUEST.includes(field)) return 'request';
  const [, base = field, thousands = '0'] = ABOVE.exec(field) ?? [];
  const bucket = Object.hasOwn(BUCKETS, base) ? BUCKETS[base] : undefined;
  return bucket && { bucket, aboveInputTokens: Number(thousands) * 1_000 };
}

function profileOf(entry: LiteLlmEntry): Pick<ListedPrice, 'maxOutputTokens' | 'isReasoning'> {
  const { max_output_tokens: ceiling, supports_reasoning: reasons } = entry;
  const tokens = typeof ceiling === 'string' && /^\d{1,9}$/.test(ceiling) ? Number(ceiling) : 0;
  return {
    maxOutputTokens: tokens >= 1 && tokens <= MAX_OUTPUT_TOKENS ? tokens : undefined,
    isReasoning: typeof reasons === 'boolean' ? reasons : undefined,
  };
}
