import { NO_TOKENS, type TokenCounts } from '../../../catalogue/price';
import { credibleCount } from '../credible-count';
import { isObject } from '../../../kernel/json-object';

/** Embeddings have input alone. Undefined means "missing"; an explicit 0 is a count. */
export function usageFromEmbeddings(usage: unknown): TokenCounts | undefined {
  const inputUncached = isObject(usage) ? credibleCount(usage.prompt_tokens) : undefined;
  return inputUncached === undefined ? undefined : { ...NO_TOKENS, inputUncached };
}
