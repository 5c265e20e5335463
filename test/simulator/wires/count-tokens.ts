import { BehaviourError } from '../behaviour';
import { type Wire } from '../wire';
import { messagesWire } from './messages';
import { readPrompt } from './messages-request';

/** Anthropic's count of a prompt. It is not charged: no usage. */
export const countTokensWire: Wire = {
  ...messagesWire,
  read: (body) => ({ ...readPrompt(body), isStream: false }),
  stream: () => {
    throw new BehaviourError('simulator: a count is not streamed');
  },
  whole: (_request, { usage }) => ({ json: JSON.stringify({ input_tokens: usage.prompt_tokens }) }),
};
