import type { ApiDialect } from '../../upstreams/upstream.port';
import { MESSAGES_DIALECT } from './anthropic-messages/messages-dialect';
import type { Dialect, Translation } from './dialect';
import { CHAT_DIALECT } from './openai-chat/chat-dialect';
import { EMBEDDINGS_DIALECT } from './openai-embeddings/embeddings-dialect';
import { RESPONSES_DIALECT } from './openai-responses/responses-dialect';

export const DIALECTS: Readonly<Record<ApiDialect, Dialect>> = {
  'openai-chat': CHAT_DIALECT,
  'openai-responses': RESPONSES_DIALECT,
  'anthropic-messages': MESSAGES_DIALECT,
  'openai-embeddings': EMBEDDINGS_DIALECT,
};

/** Of a dialect that is translated: a conversation is, wherever its provider does not speak the client's dialect. */
export function translationOf(name: ApiDialect): Translation {
  const { translation } = DIALECTS[name];
  if (!translation) throw new Error(`the dialect ${name} is not translated`);
  return translation;
}
