import { findProvider, type ModelInfo, type ModelPrice } from '@pydantic/genai-prices';
import type { TokenBucket } from '../price';
import { scaledDecimal } from './exact-decimal';
import { isModelName, ListedBuckets, type ListedPrice, type PriceList, type SkippedModel } from './price-list';

/** Of the package that is installed; a test compares. */
export const GENAI_PRICES_VERSION = '0.1.8';

/** USD a million tokens. */
const PER_MILLION_POWER = 9;

const BUCKETS: Readonly<Record<string, TokenBucket>> = {
  input_mtok: 'inputUncached',
  cache_read_mtok: 'inputCached',
  cache_write_mtok: 'cacheWrite',
  output_mtok: 'output',
  output_reasoning_mtok: 'reasoning',
  input_audio_mtok: 'audio',
  output_audio_mtok: 'audio',
  input_image_mtok: 'image',
  output_image_mtok: 'image',
};
/** Prices beside those of tokens, or of kinds of tokens that are counted in another bucket. */
const IGNORED: ReadonlySet<string> = new Set([
  'web_searches_kcount',
  'storage_searches_kcount',
  'cache_audio_read_mtok',
  'cache_image_read_mtok',
  'cache_write_1h_mtok',
  'input_video_mtok',
]);

export interface UnknownProvider {
  readonly unknownProvider: string;
}

/**
 * Prices of @pydantic/genai-prices, as they are on this day. Its numbers are JavaScript's: each is read by its shortest
 * decimal text, which is what stood in the list it was made from. Of a model that several providers have, the first counts.
 */
export function genaiList(providers: readonly string[], atMs: number): PriceList | UnknownProvider {
  const listed: ListedPrice[] = [];
  const skipped: SkippedModel[] = [];
  const seen = new Set<string>();
  for (const id of providers) {
    const provider = findProvider({ providerId: id });
    if (provider?.id !== id) return { unknownProvider: id };
    for (const info of provider.models) {
      const model = info.id;
      const read = seen.has(model) ? ({ model, reason: 'listed_twice' } as const) : readModel(info, atMs);
      seen.add(model);
      if ('reason' in read) skipped.push(read);
      else listed.push(read);
    }
  }
  return { name: `genai-prices ${GENAI_PRICES_VERSION}`, listed, skipped };
}

function readModel(
  { id: model, prices: given }: Pick<ModelInfo, 'id' | 'prices'>,
  atMs: number,
): ListedPrice | SkippedModel {
  if (!isModelName(model)) return { model: model.slice(0, 200), reason: 'bad_name' };
  const inForce = pricesAt(given, atMs);
  if (inForce === 'time_of_day') return { model, reason: 'depends_on_time_of_day' };
  if (inForce === undefined) return { model, reason: 'no_prices' };
  const prices = new ListedBuckets();
  const ignored: string[] = [];
  for (const [unit, price] of Object.entries(inForce)) {
    if (price === undefined) continue;
    const bucket = Object.hasOwn(BUCKETS, unit) ? BUCKETS[unit] : undefined;
    if (bucket === undefined && !IGNORED.has(unit)) return { model, reason: 'unit_unknown', field: unit };
    if (bucket === undefined) ignored.push(unit);
    else if (!addPrices(prices, bucket, price)) return { model, reason: 'unit_unknown', field: unit };
  }
  const complete = prices.complete();
  if (typeof complete === 'string') return { model, reason: complete };
  const { isRounded } = prices;
  const profile = { maxOutputTokens: undefined, isReasoning: undefined };
  return { model, ...complete, perRequestNanoUsd: 0n, ...profile, ignored, isRounded };
}

/** The last entry counts whose day has come; one without a day always counts. */
function pricesAt(given: ModelInfo['prices'], atMs: number): ModelPrice | 'time_of_day' | undefined {
  if (!Array.isArray(given)) return given;
  if (given.some(({ constraint }) => constraint !== undefined && !('start_date' in constraint))) return 'time_of_day';
  const inForce = given.filter(
    ({ constraint }) =>
      constraint === undefined || !('start_date' in constraint) || Date.parse(constraint.start_date) <= atMs,
  );
  return inForce.at(-1)?.prices;
}

/** Its tiers are thresholds of the whole input for the whole call, as ours. False where a number is none. */
function addPrices(prices: ListedBuckets, bucket: TokenBucket, price: NonNullable<ModelPrice[string]>): boolean {
  const levels =
    typeof price === 'number'
      ? [{ start: 0, price }]
      : [{ start: 0, price: price.base }, ...price.tiers.map(({ start, price: ofTier }) => ({ start, price: ofTier }))];
  return levels.every(({ start, price: usd }) => {
    const scaled = scaledDecimal(String(usd), PER_MILLION_POWER);
    if (!scaled || !Number.isSafeInteger(start) || start < 0) return false;
    prices.isRounded ||= !scaled.isExact;
    prices.add(bucket, start, scaled.value);
    return true;
  });
}
