import type { Dialect } from '../dialect';
import { MessageStreamReading } from './message-stream';
import { parseMessagesRequest, passOnMessages } from './messages-request';
import { messagesPromptText } from './prompt-text';
import { usageFromAnthropic } from './usage';
import { readMessage } from './whole-message';

export const MESSAGES_DIALECT: Dialect = {
  name: 'anthropic-messages',
  parseRequest: parseMessagesRequest,
  passOn: passOnMessages,
  promptText: messagesPromptText,
  readAnswer: readMessage,
  usageFrom: (usage) => usageFromAnthropic(usage),
  streamReading: () => new MessageStreamReading(),
};
