import type { ApiDialect } from '../../upstreams/upstream.port';
import type { Dialect, Translation } from './dialect';
import { CHAT_DIALECT } from './openai-chat/chat-dialect';
import { EMBEDDINGS_DIALECT } from './openai-embeddings/embeddings-dialect';
import { RESPONSES_DIALECT } from './openai-responses/responses-dialect';

const DIALECTS: Readonly<Partial<Record<ApiDialect, Dialect>>> = {
  'openai-chat': CHAT_DIALECT,
  'openai-embeddings': EMBEDDINGS_DIALECT,
  'openai-responses': RESPONSES_DIALECT,
};

export function dialectOf(name: ApiDialect): Dialect {
  const dialect = DIALECTS[name];
  if (!dialect) throw new Error(`the dialect ${name} is not spoken`);
  return dialect;
}

/** Of a dialect that is translated: a call is, wherever its provider does not speak the client's. */
export function translationOf(name: ApiDialect): Translation {
  const { translation } = dialectOf(name);
  if (!translation) throw new Error(`the dialect ${name} is not translated`);
  return translation;
}
