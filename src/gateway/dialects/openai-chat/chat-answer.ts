import type { JsonObject } from '../../../kernel/json-object';
import type { AnswerLook } from '../dialect';
import type { NeutralEvent } from '../neutral/neutral-event';
import { type ChatCallDelta, type ChatDelta, ChatDeltas } from './chat-deltas';
import { type ChatFinishReason, chatFinishReason } from './chat-finish';
import { openAiUsageOf } from './usage';

/** The message as far as it came. */
interface Message {
  content?: string;
  refusal?: string;
  reasoning_content?: string;
  readonly reasoning_details: JsonObject[];
  readonly annotations: JsonObject[];
  readonly calls: ChatCallDelta[];
}

/** Events as the `chat.completion` that OpenAI would send. */
export function renderChatCompletion(events: readonly NeutralEvent[], look: AnswerLook): JsonObject {
  const deltas = new ChatDeltas(look.request);
  const message: Message = { reasoning_details: [], annotations: [], calls: [] };
  let finishReason: ChatFinishReason = 'stop';
  let created = Math.floor(look.nowMs / 1000);
  let usage: JsonObject | undefined;
  for (const event of events) {
    const delta = deltas.of(event);
    if (delta) addDelta(message, delta);
    if (event.type === 'start') created = event.createdSeconds ?? created;
    if (event.type === 'finish') finishReason = chatFinishReason(event.reason, deltas.hasRefusal);
    if (event.type === 'usage') usage = openAiUsageOf(event.tokens);
  }
  return {
    id: `chatcmpl-${look.answerId}`,
    object: 'chat.completion',
    created,
    model: look.model,
    choices: [{ index: 0, message: renderMessage(message), logprobs: null, finish_reason: finishReason }],
    ...(usage ? { usage } : {}),
  };
}

function addDelta(message: Message, delta: ChatDelta): void {
  const { content, refusal, reasoning_content: thought } = delta;
  if (content !== undefined) message.content = (message.content ?? '') + content;
  if (refusal !== undefined) message.refusal = (message.refusal ?? '') + refusal;
  if (thought !== undefined) message.reasoning_content = (message.reasoning_content ?? '') + thought;
  message.reasoning_details.push(...(delta.reasoning_details ?? []));
  message.annotations.push(...(delta.annotations ?? []));
  for (const call of delta.tool_calls ?? []) addCall(message.calls, call);
}

function addCall(calls: ChatCallDelta[], more: ChatCallDelta): void {
  const known = calls[more.index];
  if (!known) {
    calls[more.index] = more;
  } else if (known.function && more.function) {
    const text = known.function.arguments + more.function.arguments;
    calls[more.index] = { ...known, function: { ...known.function, arguments: text } };
  } else if (known.custom && more.custom) {
    calls[more.index] = { ...known, custom: { ...known.custom, input: known.custom.input + more.custom.input } };
  }
}

function renderMessage(message: Message): JsonObject {
  const { content, refusal, reasoning_content, reasoning_details, annotations, calls } = message;
  return {
    role: 'assistant',
    content: content ?? null,
    refusal: refusal ?? null,
    annotations,
    ...(reasoning_content === undefined ? {} : { reasoning_content }),
    ...(reasoning_details.length > 0 ? { reasoning_details } : {}),
    ...(calls.length > 0 ? { tool_calls: calls.map(renderCall) } : {}),
  };
}

function renderCall({ id, type, function: called, custom }: ChatCallDelta): JsonObject {
  return { id, type, ...(called ? { function: called } : { custom }) };
}
