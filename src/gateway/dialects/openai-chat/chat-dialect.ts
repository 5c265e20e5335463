import type { Dialect } from '../dialect';
import { renderChatCompletion } from './chat-answer';
import { readChatCompletion } from './chat-completion';
import { ChatEventParser, eventsOfCompletion } from './chat-events';
import { ChatFrames } from './chat-frames';
import { renderChatRequest } from './chat-from-neutral';
import { parseChatRequest, renderUpstreamBody } from './chat-request';
import { ChatStreamReading } from './chat-stream';
import { chatToNeutral } from './chat-to-neutral';
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
  translation: {
    toNeutral: chatToNeutral,
    renderRequest: renderChatRequest,
    eventParser: () => new ChatEventParser(),
    parseAnswer: eventsOfCompletion,
    eventRenderer: (look) => new ChatFrames(look),
    renderAnswer: renderChatCompletion,
  },
};
