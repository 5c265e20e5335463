import type { RoutableUpstream } from '../../upstreams/upstream-directory';
import type { ApiDialect } from '../../upstreams/upstream.port';

/** What conversations are translated to, best first: chat is what most providers speak, and speak well. */
const TRANSLATED: readonly ApiDialect[] = ['openai-chat', 'openai-responses', 'anthropic-messages'];

/**
 * Between the gateway and this candidate's provider: the client's own where it is spoken there, so that bytes pass through;
 * undefined where nothing is spoken that the call could be translated to.
 */
export function wireDialectOf({ dialects }: RoutableUpstream, client: ApiDialect): ApiDialect | undefined {
  if (dialects.includes(client)) return client;
  return client === 'openai-embeddings' ? undefined : TRANSLATED.find((dialect) => dialects.includes(dialect));
}
