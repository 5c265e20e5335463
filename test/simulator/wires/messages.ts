import { type Answer, type Usage } from '../answer';
import { type Behaviour, type HttpFailure } from '../behaviour';
import { type SimRequest } from '../request';
import { piecesOf } from '../tools';
import { encodeFrame, type Frame, paddingOf, plainUsage, replayTyped, type Whole, type Wire } from '../wire';
import { readMessagesRequest } from './messages-request';

/** Anthropic's messages. */
export const messagesWire: Wire = {
  name: 'anthropic-messages',
  read: readMessagesRequest,
  stream: (request, answer, behaviour) =>
    behaviour.frames === undefined
      ? renderAnswer(request, answer, behaviour)
      : replayTyped(behaviour, behaviour.frames),
  whole: renderWhole,
  errorEvent: (_request, _answer, behaviour) => {
    const { errorEventType = 'overloaded_error', errorEventMessage = 'Overloaded' } = behaviour;
    const error = { type: errorEventType, message: errorEventMessage };
    return encodeFrame(behaviour, 'error', JSON.stringify({ type: 'error', error }));
  },
  garbage: (behaviour) => encodeFrame(behaviour, 'content_block_delta', '{"type":"content_block_delta","index":0,"del'),
  errorBody: anthropicError,
};

const ERROR_TYPES: Readonly<Record<number, string>> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  529: 'overloaded_error',
};

export function anthropicError({ status, message, type }: HttpFailure): object {
  return {
    type: 'error',
    error: { type: type ?? ERROR_TYPES[status] ?? 'api_error', message: message ?? `scripted failure ${status}` },
    request_id: null,
  };
}

interface Block {
  readonly opening: object;
  readonly deltas: readonly { readonly delta: object; readonly text?: string }[];
  readonly whole: object;
}

function renderAnswer(request: SimRequest, answer: Answer, behaviour: Behaviour): Frame[] {
  const usage = plainUsage(answer, behaviour, 'anthropic-messages');
  const frame = (type: string, fields: object, parts: Partial<Frame> = {}): Frame =>
    encodeFrame(behaviour, type, JSON.stringify({ type, ...fields }), parts);
  const opening = usage === null || usage === undefined ? usage : { ...anthropicUsage(usage), output_tokens: 1 };
  const frames = [frame('message_start', { message: messageOf(request, answer, [], opening, { stop_reason: null }) })];
  blocksOf(answer).forEach((block, index) => {
    frames.push(frame('content_block_start', { index, content_block: block.opening }));
    if (index === 0) frames.push(frame('ping', {}));
    for (const { delta, text = '' } of block.deltas) {
      const fields = { index, delta, ...paddingOf(behaviour) };
      frames.push(frame('content_block_delta', fields, { isContent: true, text }));
    }
    frames.push(frame('content_block_stop', { index }));
  });
  const delta = stopOf(answer);
  const told = usage === undefined ? {} : { usage: usage === null ? null : anthropicUsage(usage) };
  frames.push(frame('message_delta', { delta, ...told }, { usage: usage ?? undefined }));
  if (behaviour.done !== false) frames.push(frame('message_stop', {}));
  return frames;
}

function blocksOf(answer: Answer): Block[] {
  const { reasoning, pieces, refusal, toolCalls } = answer;
  const thinking = reasoning.pieces.join('');
  const { signature = '', redacted } = reasoning;
  const text = [...pieces, ...(refusal ?? [])];
  const hasThoughts = thinking !== '' || reasoning.signature !== undefined;
  return [
    ...(redacted === undefined ? [] : [still({ type: 'redacted_thinking', data: redacted })]),
    ...(hasThoughts ? [thinkingBlock(reasoning.pieces, signature)] : []),
    ...(text.length > 0 ? [textBlock(text, answer)] : []),
    ...toolCalls.map(({ id, name, arguments: input }) => ({
      opening: { type: 'tool_use', id, name, input: {} },
      deltas: ['', ...piecesOf(input)].map((piece) => ({ delta: { type: 'input_json_delta', partial_json: piece } })),
      whole: { type: 'tool_use', id, name, input: input === '' ? {} : (JSON.parse(input) as unknown) },
    })),
  ];
}

function still(block: object): Block {
  return { opening: block, deltas: [], whole: block };
}

function thinkingBlock(pieces: readonly string[], signature: string): Block {
  return {
    opening: { type: 'thinking', thinking: '', signature: '' },
    deltas: [
      ...pieces.map((thinking) => ({ delta: { type: 'thinking_delta', thinking } })),
      { delta: { type: 'signature_delta', signature } },
    ],
    whole: { type: 'thinking', thinking: pieces.join(''), signature },
  };
}

function textBlock(pieces: readonly string[], answer: Answer): Block {
  const citations = answer.citations.map(({ url, title }) => ({
    type: 'web_search_result_location',
    url,
    title,
    cited_text: pieces.join('').slice(0, 150),
    encrypted_index: 'c2lt',
  }));
  return {
    opening: { type: 'text', text: '', ...(citations.length > 0 ? { citations: [] } : {}) },
    deltas: [
      ...citations.map((citation) => ({ delta: { type: 'citations_delta', citation } })),
      ...pieces.map((text) => ({ delta: { type: 'text_delta', text }, text })),
    ],
    whole: { type: 'text', text: pieces.join(''), ...(citations.length > 0 ? { citations } : {}) },
  };
}

const STOP_REASONS: Readonly<Record<string, string>> = {
  stop: 'end_turn',
  length: 'max_tokens',
  tool_calls: 'tool_use',
  content_filter: 'refusal',
};

function stopOf(answer: Answer): object {
  if (answer.refusal) return { stop_reason: 'refusal', stop_sequence: null };
  if (answer.stopSequence !== undefined && answer.finishReason === 'stop') {
    return { stop_reason: 'stop_sequence', stop_sequence: answer.stopSequence };
  }
  return { stop_reason: STOP_REASONS[answer.finishReason] ?? answer.finishReason, stop_sequence: null };
}

function messageOf(
  request: SimRequest,
  answer: Answer,
  content: readonly object[],
  usage: object | null | undefined,
  stop: object,
): object {
  return {
    id: `msg_sim_${answer.serial}`,
    type: 'message',
    role: 'assistant',
    model: request.model,
    content,
    stop_sequence: null,
    ...stop,
    ...(usage === undefined ? {} : { usage }),
  };
}

/** Anthropic's input is without what was read from and written to the cache. */
export function anthropicUsage(usage: Usage): object {
  const { cached_tokens: cached, cache_write_tokens: written = 0 } = usage.prompt_tokens_details;
  const { reasoning_tokens: thinking } = usage.completion_tokens_details;
  return {
    input_tokens: usage.prompt_tokens - cached - written,
    cache_creation_input_tokens: written,
    cache_read_input_tokens: cached,
    cache_creation: { ephemeral_5m_input_tokens: written, ephemeral_1h_input_tokens: 0 },
    output_tokens: usage.completion_tokens,
    ...(thinking > 0 ? { output_tokens_details: { thinking_tokens: thinking } } : {}),
    service_tier: 'standard',
  };
}

function renderWhole(request: SimRequest, answer: Answer, behaviour: Behaviour): Whole {
  const usage = plainUsage(answer, behaviour, 'anthropic-messages');
  const content = blocksOf(answer).map(({ whole }) => whole);
  const told = usage === null || usage === undefined ? usage : anthropicUsage(usage);
  const message = messageOf(request, answer, content, told, stopOf(answer));
  return { json: JSON.stringify(message), usage: usage ?? undefined };
}
