import type { Dialect, Translation } from '../dialect';
import { eventsOfMessage, MessageEventParser } from './event-parser';
import { MessageEventRenderer, renderMessage } from './event-renderer';
import { MessageStreamReading } from './message-stream';
import { parseMessagesRequest, passOnMessages } from './messages-request';
import { messagesPromptText } from './prompt-text';
import { neutralOfMessages } from './request-reader';
import { renderMessagesRequest } from './request-renderer';
import { usageFromAnthropic } from './usage';
import { readMessage } from './whole-message';

const TRANSLATION: Translation = {
  toNeutral: neutralOfMessages,
  renderRequest: renderMessagesRequest,
  eventParser: () => new MessageEventParser(),
  parseAnswer: eventsOfMessage,
  eventRenderer: (look) => new MessageEventRenderer(look),
  renderAnswer: renderMessage,
};

export const MESSAGES_DIALECT: Dialect = {
  name: 'anthropic-messages',
  parseRequest: parseMessagesRequest,
  passOn: passOnMessages,
  promptText: messagesPromptText,
  readAnswer: readMessage,
  usageFrom: (usage) => usageFromAnthropic(usage),
  streamReading: () => new MessageStreamReading(),
  translation: TRANSLATION,
};
