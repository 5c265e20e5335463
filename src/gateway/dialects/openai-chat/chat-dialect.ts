import type { Dialect } from '../dialect';
import { readChatCompletion } from './chat-completion';
import { parseChatRequest, renderUpstreamBody } from './chat-request';
import { ChatStreamReading } from './chat-stream';
import { promptText } from './prompt-text';
import { usageFromOpenAi } from './usage';

/** `/v1/chat/completions`, of clients and of every OpenAI-compatible provider. */
export const CHAT_DIALECT: Dialect = {
  name: 'openai-chat',
  parseRequest: parseChatRequest,
  passOn: renderUpstreamBody,
  promptText,
  readAnswer: readChatCompletion,
  usageFrom: usageFromOpenAi,
  streamReading: ({ choices }) => new ChatStreamReading(choices),
};
