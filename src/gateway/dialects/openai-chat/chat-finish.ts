import type { NeutralFinishReason } from '../neutral/neutral-event';

/** What providers say beside OpenAI's own five; whatever is not here came to its end. */
const REASONS: Readonly<Record<string, NeutralFinishReason>> = {
  length: 'length',
  max_tokens: 'length',
  model_length: 'length',
  // The provider broke off: more could have come.
  insufficient_system_resource: 'length',
  error: 'length',
  tool_calls: 'tool_calls',
  tool_use: 'tool_calls',
  function_call: 'tool_calls',
  content_filter: 'content_filter',
  safety: 'content_filter',
  sensitive: 'content_filter',
  refusal: 'refusal',
};

/**
 * @param said the provider's `finish_reason`, if any
 *
 * A call is a call also where the provider says `stop`: OpenAI does for a tool that the request names, others always. A
 * refusal is a message of its own, after which OpenAI says `stop`.
 */
export function finishReasonOf(said: string | undefined, hasCalls: boolean, hasRefusal: boolean): NeutralFinishReason {
  const known = said !== undefined && Object.hasOwn(REASONS, said) ? REASONS[said] : undefined;
  return known ?? (hasCalls ? 'tool_calls' : hasRefusal ? 'refusal' : 'stop');
}

export type ChatFinishReason = 'stop' | 'length' | 'tool_calls' | 'content_filter';

/** A refusal without words is an answer that was withheld. A pause has no name here: the answer so far is whole. */
export function chatFinishReason(reason: NeutralFinishReason, hasRefusal: boolean): ChatFinishReason {
  switch (reason) {
    case 'refusal':
      return hasRefusal ? 'stop' : 'content_filter';
    case 'pause':
      return 'stop';
    case 'stop':
    case 'length':
    case 'tool_calls':
    case 'content_filter':
      return reason;
  }
}
