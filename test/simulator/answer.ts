import { createHash } from 'node:crypto';
import { type Behaviour, type ToolCall } from './behaviour';

/** What the simulator reads of a chat request; everything else passes it by. */
export interface ChatRequest {
  readonly model: string;
  readonly isStream: boolean;
  readonly wantsUsage: boolean;
  readonly prompt: string;
  readonly maxTokens: number | undefined;
  readonly choices: number;
}

export interface Answer {
  readonly id: string;
  readonly createdSeconds: number;
  /** The text in the pieces it is streamed in. */
  readonly pieces: readonly string[];
  readonly toolCalls: readonly Required<ToolCall>[];
  readonly finishReason: string;
  readonly usage: Usage;
}

/** As OpenAI renders it. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number; readonly audio_tokens: number };
  readonly completion_tokens_details: {
    readonly reasoning_tokens: number;
    readonly audio_tokens: number;
    readonly accepted_prediction_tokens: number;
    readonly rejected_prediction_tokens: number;
  };
}

// Multi-byte characters on purpose: a frame cut inside one must arrive whole.
const WORDS = (
  'gate coin ledger river naïve token quiet beat window harbour 価格 balance stream café steady ' +
  'hold 流れ settle epoch marble candle 🙂 orbit paper'
).split(' ');

/** Equal requests under equal behaviour get equal texts, tool calls, finish reasons and usage. */
export function composeAnswer(request: ChatRequest, behaviour: Behaviour, serial: number): Answer {
  const allTokens =
    behaviour.text === undefined ? makeText(request.prompt, behaviour.tokens) : tokenize(behaviour.text);
  const limit = behaviour.ignoresMaxTokens === true ? undefined : request.maxTokens;
  const tokens = limit === undefined ? allTokens : allTokens.slice(0, limit);
  const toolCalls = (behaviour.toolCalls ?? []).map((call, index) => ({
    id: call.id ?? `call_sim_${serial}_${index}`,
    name: call.name,
    arguments: call.arguments,
  }));
  const natural = tokens.length < allTokens.length ? 'length' : toolCalls.length > 0 ? 'tool_calls' : 'stop';
  const toolTokens = toolCalls.reduce((sum, call) => sum + Math.ceil((call.name + call.arguments).length / 4), 0);
  const texts = toolCalls.length > 0 && behaviour.text === undefined ? [] : tokens;
  return {
    id: `chatcmpl-sim-${serial}`,
    createdSeconds: Math.floor(Date.now() / 1000),
    pieces: behaviour.chunks === undefined ? texts : regroup(texts.join(''), behaviour.chunks),
    toolCalls,
    finishReason: behaviour.finishReason ?? natural,
    usage: usageOf(request, behaviour, texts.length * request.choices + toolTokens),
  };
}

function usageOf(request: ChatRequest, behaviour: Behaviour, textTokens: number): Usage {
  const prompt = behaviour.promptTokens ?? Math.max(1, Math.ceil(Buffer.byteLength(request.prompt) / 4));
  const reasoning = behaviour.reasoningTokens ?? 0;
  const isAdditive = behaviour.isReasoningAdditive === true;
  const completion = behaviour.completionTokens ?? textTokens + (isAdditive ? 0 : reasoning);
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion + (isAdditive ? reasoning : 0),
    prompt_tokens_details: { cached_tokens: behaviour.cachedTokens ?? 0, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: reasoning,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  };
}

export function zeroUsage(): Usage {
  const none = { model: '', isStream: false, wantsUsage: true, prompt: '', maxTokens: undefined, choices: 1 };
  return usageOf(none, { promptTokens: 0, completionTokens: 0 }, 0);
}

function makeText(prompt: string, tokens: number | undefined): string[] {
  if (tokens === undefined) return tokenize(greeting(prompt));
  const seed = createHash('sha256').update(prompt).digest();
  return Array.from({ length: tokens }, (_, i) => {
    const word = WORDS[((seed[i % seed.length] ?? 0) + i * 7) % WORDS.length] ?? '';
    return i === 0 ? word : ` ${word}`;
  });
}

function greeting(prompt: string): string {
  const words = prompt.trim().split(/\s+/);
  const heard = words.slice(0, 8).join(' ').slice(0, 80) + (words.length > 8 ? ' …' : '');
  return (
    `Hello from the simulated model! You wrote: “${heard}”. ` +
    'I am a script and cannot think, but this answer was streamed, counted and charged like a real one: ' +
    'look at your balance and you will find the receipt.'
  );
}

/** Words with the space before them: close enough to real tokens, and joinable. */
function tokenize(text: string): string[] {
  return text.match(/\s*\S+|\s+$/g) ?? [];
}

function regroup(text: string, chunks: number): string[] {
  const characters = Array.from(text);
  return Array.from({ length: chunks }, (_, i) =>
    characters
      .slice(Math.floor((i * characters.length) / chunks), Math.floor(((i + 1) * characters.length) / chunks))
      .join(''),
  );
}

/** @throws RequestError where a provider would answer 400. */
export function readChatRequest(body: Readonly<Record<string, unknown>>): ChatRequest {
  const { model, messages, stream, stream_options: streamOptions, n } = body;
  if (typeof model !== 'string' || model === '') throw new RequestError('model', 'you must provide a model parameter');
  if (!Array.isArray(messages) || messages.length === 0) throw new RequestError('messages', 'expected a list');
  const limit = body.max_completion_tokens ?? body.max_tokens;
  return {
    model,
    isStream: stream === true,
    wantsUsage: isRecord(streamOptions) && streamOptions.include_usage === true,
    prompt: messages.map((message: unknown) => (isRecord(message) ? textOf(message.content) : '')).join('\n'),
    maxTokens: typeof limit === 'number' ? limit : undefined,
    choices: typeof n === 'number' && n > 1 ? n : 1,
  };
}

export class RequestError extends Error {
  override readonly name = 'RequestError';

  constructor(
    readonly param: string,
    message: string,
  ) {
    super(`Invalid value for '${param}': ${message}.`);
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textOf(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content.map((part: unknown) => (isRecord(part) && typeof part.text === 'string' ? part.text : '')).join(' ');
}
