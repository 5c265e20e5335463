import type { ApiDialect } from './upstream.port';

/** Below a provider's base URL; of clients, below `/v1`. */
export const DIALECT_PATHS: Readonly<Record<ApiDialect, string>> = {
  'openai-chat': '/chat/completions',
  'openai-responses': '/responses',
  'anthropic-messages': '/messages',
  'openai-embeddings': '/embeddings',
};
