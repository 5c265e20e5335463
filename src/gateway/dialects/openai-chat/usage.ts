import { NO_TOKENS, type TokenCounts } from '../../../catalogue/price';

/** More than any call can use: a larger count is garbage, not a bill. */
const MAX_CREDIBLE_TOKENS = 1_000_000_000;

/**
 * A provider's `usage` object as buckets that never overlap (money.md, Units). Undefined means "missing": absent, null,
 * or without two credible totals; an explicit 0 is a count. A detail that is garbage counts as absent, one larger than
 * what is left of its total is cut to that, so that buckets are ≥ 0 and sum to the totals.
 *
 * - `prompt_tokens` includes cached, cache-write and audio tokens; DeepSeek names the cached ones
 *   `prompt_cache_hit_tokens`.
 * - `completion_tokens` includes reasoning and audio, except where prompt + completion + reasoning = total (xAI): there
 *   reasoning comes on top.
 */
export function usageFromOpenAi(usage: unknown): TokenCounts | undefined {
  if (!isRecord(usage)) return undefined;
  const prompt = tokenCount(usage.prompt_tokens);
  const completion = tokenCount(usage.completion_tokens);
  if (prompt === undefined || completion === undefined) return undefined;

  const input = detailsOf(usage.prompt_tokens_details);
  const cached = tokenCount(input.cached_tokens) ?? tokenCount(usage.prompt_cache_hit_tokens) ?? 0;
  const inputCached = Math.min(cached, prompt);
  const inputAudio = Math.min(tokenCount(input.audio_tokens) ?? 0, prompt - inputCached);
  const cacheWrite = Math.min(tokenCount(input.cache_write_tokens) ?? 0, prompt - inputCached - inputAudio);

  const output = detailsOf(usage.completion_tokens_details);
  const reported = tokenCount(output.reasoning_tokens) ?? 0;
  const isAdditive = reported > 0 && usage.total_tokens === prompt + completion + reported;
  const reasoning = isAdditive ? reported : Math.min(reported, completion);
  const spoken = isAdditive ? completion : completion - reasoning;
  const outputAudio = Math.min(tokenCount(output.audio_tokens) ?? 0, spoken);

  return {
    ...NO_TOKENS,
    inputUncached: prompt - inputCached - inputAudio - cacheWrite,
    inputCached,
    cacheWrite,
    output: spoken - outputAudio,
    reasoning,
    audio: inputAudio + outputAudio,
  };
}

function tokenCount(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= MAX_CREDIBLE_TOKENS
    ? value
    : undefined;
}

function detailsOf(value: unknown): Readonly<Record<string, unknown>> {
  return isRecord(value) ? value : {};
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
