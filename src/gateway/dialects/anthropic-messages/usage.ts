import { NO_TOKENS, type TokenCounts } from '../../../catalogue/price';
import { credibleCount } from '../credible-count';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import { isArray } from '../json-value';

/**
 * The `usage` of an Anthropic message, or of its `message_delta`, as buckets that never overlap (money.md, Units).
 * Undefined means "missing": without a credible count of input or of output, here or before; an explicit 0 is a count.
 *
 * - `input_tokens` is without cached tokens: `cache_read_input_tokens` and `cache_creation_input_tokens` come on top.
 * - `output_tokens` includes what was thought; newer models tell how much that was in `output_tokens_details`.
 * - What server tools used has no price in tokens; what they brought is among the input tokens already.
 * - What it took to shorten a conversation that grew too long is in `iterations` alone, on top of the totals told with it.
 *
 * @param before what was told earlier in the same stream: each count that is not told again stays
 */
export function usageFromAnthropic(usage: unknown, before?: TokenCounts): TokenCounts | undefined {
  if (!isObject(usage)) return before;
  const extra = besideTotals(usage.iterations);
  const inputUncached = plus(credibleCount(usage.input_tokens), extra.inputUncached) ?? before?.inputUncached;
  const written =
    plus(credibleCount(usage.output_tokens), extra.output) ?? (before && before.output + before.reasoning);
  if (inputUncached === undefined || written === undefined) return before;
  const reasoning = Math.min(written, thoughtOf(usage.output_tokens_details) ?? before?.reasoning ?? 0);
  const cacheWrite = cacheWriteOf(usage.cache_creation_input_tokens, usage.cache_creation);
  return {
    ...NO_TOKENS,
    inputUncached,
    inputCached:
      plus(credibleCount(usage.cache_read_input_tokens), extra.inputCached) ?? before?.inputCached ?? extra.inputCached,
    cacheWrite: plus(cacheWrite, extra.cacheWrite) ?? before?.cacheWrite ?? extra.cacheWrite,
    output: written - reasoning,
    reasoning,
  };
}

/** The other way round, for an answer of another provider, or one that its provider did not end. */
export function anthropicUsageOf(tokens: TokenCounts): JsonObject {
  return {
    input_tokens: tokens.inputUncached + tokens.image,
    cache_creation_input_tokens: tokens.cacheWrite,
    cache_read_input_tokens: tokens.inputCached,
    output_tokens: tokens.output + tokens.reasoning + tokens.audio,
    ...(tokens.reasoning > 0 ? { output_tokens_details: { thinking_tokens: tokens.reasoning } } : {}),
  };
}

/** Iterations that the totals do not include; those that they do are the turns of the answer itself. */
function besideTotals(iterations: unknown): TokenCounts {
  let sum = NO_TOKENS;
  for (const iteration of isArray(iterations) ? iterations : []) {
    if (!isObject(iteration) || iteration.type !== 'compaction') continue;
    sum = {
      ...sum,
      inputUncached: sum.inputUncached + (credibleCount(iteration.input_tokens) ?? 0),
      inputCached: sum.inputCached + (credibleCount(iteration.cache_read_input_tokens) ?? 0),
      cacheWrite: sum.cacheWrite + (cacheWriteOf(iteration.cache_creation_input_tokens, iteration.cache_creation) ?? 0),
      output: sum.output + (credibleCount(iteration.output_tokens) ?? 0),
    };
  }
  return sum;
}

function plus(told: number | undefined, more: number): number | undefined {
  return told === undefined ? undefined : told + more;
}

function thoughtOf(details: unknown): number | undefined {
  return isObject(details) ? credibleCount(details.thinking_tokens) : undefined;
}

/** The total; where only its parts by lifetime are told, their sum. */
function cacheWriteOf(total: unknown, parts: unknown): number | undefined {
  const told = credibleCount(total);
  if (told !== undefined || !isObject(parts)) return told;
  const counts = [parts.ephemeral_5m_input_tokens, parts.ephemeral_1h_input_tokens].map(credibleCount);
  return counts.every((count) => count === undefined)
    ? undefined
    : counts.reduce<number>((sum, n) => sum + (n ?? 0), 0);
}
