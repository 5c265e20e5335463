import type { TokenCounts } from '../../../catalogue/price';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import { usageFromOpenAi } from '../openai-chat/usage';

/**
 * The `usage` of a response as buckets that never overlap. The counts are those of a chat completion under other names:
 * `input_tokens` includes cached tokens, `output_tokens` includes reasoning unless the total says that it comes on top.
 */
export function usageFromResponses(usage: unknown): TokenCounts | undefined {
  if (!isObject(usage)) return undefined;
  return usageFromOpenAi({
    prompt_tokens: usage.input_tokens,
    completion_tokens: usage.output_tokens,
    total_tokens: usage.total_tokens,
    prompt_tokens_details: usage.input_tokens_details,
    completion_tokens_details: usage.output_tokens_details,
  });
}

/** The other way round. Audio is counted where the answer was spoken. */
export function responsesUsageOf(tokens: TokenCounts): JsonObject {
  const input = tokens.inputUncached + tokens.inputCached + tokens.cacheWrite + tokens.image;
  const output = tokens.output + tokens.reasoning + tokens.audio;
  return {
    input_tokens: input,
    input_tokens_details: { cached_tokens: tokens.inputCached, cache_write_tokens: tokens.cacheWrite },
    output_tokens: output,
    output_tokens_details: {
      reasoning_tokens: tokens.reasoning,
      ...(tokens.audio > 0 ? { audio_tokens: tokens.audio } : {}),
    },
    total_tokens: input + output,
  };
}
