import type { NeutralFinishReason } from '../neutral/neutral-event';

/** What Anthropic tells of how an answer ended. */
const MEANINGS: Readonly<Record<string, NeutralFinishReason>> = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  tool_use: 'tool_calls',
  pause_turn: 'pause',
  refusal: 'refusal',
};

/** A reason that is not known yet is an end like any other. */
export function finishReasonOf(stopReason: string): NeutralFinishReason {
  return MEANINGS[stopReason] ?? 'stop';
}

const STOP_REASONS: Readonly<Record<NeutralFinishReason, string>> = {
  stop: 'end_turn',
  length: 'max_tokens',
  tool_calls: 'tool_use',
  content_filter: 'refusal',
  refusal: 'refusal',
  pause: 'pause_turn',
};

/** @param stopSequence the one that ended the answer, if any did */
export function stopReasonOf(reason: NeutralFinishReason, stopSequence: string | undefined): string {
  return reason === 'stop' && stopSequence !== undefined ? 'stop_sequence' : STOP_REASONS[reason];
}
