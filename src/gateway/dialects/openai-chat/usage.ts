import { NO_TOKENS, type TokenCounts } from '../../../catalogue/price';
import { credibleCount } from '../credible-count';
import { isObject, type JsonObject } from '../../../kernel/json-object';

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
  if (!isObject(usage)) return undefined;
  const prompt = credibleCount(usage.prompt_tokens);
  const completion = credibleCount(usage.completion_tokens);
  if (prompt === undefined || completion === undefined) return undefined;

  const input = detailsOf(usage.prompt_tokens_details);
  const cached = credibleCount(input.cached_tokens) ?? credibleCount(usage.prompt_cache_hit_tokens) ?? 0;
  const inputCached = Math.min(cached, prompt);
  const inputAudio = Math.min(credibleCount(input.audio_tokens) ?? 0, prompt - inputCached);
  const cacheWrite = Math.min(credibleCount(input.cache_write_tokens) ?? 0, prompt - inputCached - inputAudio);

  const output = detailsOf(usage.completion_tokens_details);
  const reported = credibleCount(output.reasoning_tokens) ?? 0;
  const isAdditive = reported > 0 && usage.total_tokens === prompt + completion + reported;
  const reasoning = isAdditive ? reported : Math.min(reported, completion);
  const spoken = isAdditive ? completion : completion - reasoning;
  const outputAudio = Math.min(credibleCount(output.audio_tokens) ?? 0, spoken);

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

/**
 * The other way round, for an answer that the provider did not end or told in another dialect. Audio is counted where the
 * answer was spoken.
 */
export function openAiUsageOf(tokens: TokenCounts): JsonObject {
  const prompt = tokens.inputUncached + tokens.inputCached + tokens.cacheWrite + tokens.image;
  const completion = tokens.output + tokens.reasoning + tokens.audio;
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: {
      cached_tokens: tokens.inputCached,
      ...(tokens.cacheWrite > 0 ? { cache_write_tokens: tokens.cacheWrite } : {}),
    },
    completion_tokens_details: { reasoning_tokens: tokens.reasoning, audio_tokens: tokens.audio },
  };
}

function detailsOf(value: unknown): JsonObject {
  return isObject(value) ? value : {};
}
