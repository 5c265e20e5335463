import { createHash } from 'node:crypto';
import { type Behaviour, type Citation } from './behaviour';
import { type SimRequest } from './request';
import { type CalledTool } from './tools';

/** What is answered, before any dialect says it. */
export interface Answer {
  readonly serial: number;
  readonly createdSeconds: number;
  readonly reasoning: Reasoning;
  /** The text in the pieces it is streamed in. */
  readonly pieces: readonly string[];
  readonly citations: readonly Citation[];
  /** Instead of a text. */
  readonly refusal: readonly string[] | undefined;
  readonly toolCalls: readonly CalledTool[];
  /** As chat says it, unless the script says otherwise. */
  readonly finishReason: string;
  /** What ended the text, where a stop sequence did. */
  readonly stopSequence: string | undefined;
  readonly usage: Usage;
}

export interface Reasoning {
  readonly pieces: readonly string[];
  readonly signature: string | undefined;
  readonly redacted: string | undefined;
  readonly isRaw: boolean;
}

/** As OpenAI's chat renders it; what a log has of every dialect. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: {
    readonly cached_tokens: number;
    readonly audio_tokens: number;
    readonly cache_write_tokens?: number;
  };
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
export function composeAnswer(request: SimRequest, behaviour: Behaviour, serial: number): Answer {
  const forced = behaviour.json !== undefined && request.wire !== 'openai-chat' ? request.forcedTool : undefined;
  const toolCalls = toolCallsOf(request, behaviour, serial, forced);
  const refusal = behaviour.refusal === undefined ? undefined : tokenize(behaviour.refusal);
  const hasText = !refusal && (toolCalls.length === 0 || (behaviour.text !== undefined && forced === undefined));
  const { tokens, natural, stopSequence } = hasText
    ? textTokens(request, behaviour)
    : { tokens: [], natural: toolCalls.length > 0 ? 'tool_calls' : 'stop', stopSequence: undefined };
  const thoughts = behaviour.reasoning === undefined ? [] : tokenize(behaviour.reasoning);
  const toolTokens = toolCalls.reduce((sum, call) => sum + Math.ceil((call.name + call.arguments).length / 4), 0);
  const written = (tokens.length + (refusal?.length ?? 0)) * request.choices + toolTokens;
  return {
    serial,
    createdSeconds: Math.floor(Date.now() / 1000),
    reasoning: {
      pieces: thoughts,
      signature: behaviour.signature,
      redacted: behaviour.redactedReasoning,
      isRaw: behaviour.isReasoningRaw === true,
    },
    pieces: behaviour.chunks === undefined ? tokens : regroup(tokens.join(''), behaviour.chunks),
    citations: behaviour.citations ?? [],
    refusal,
    toolCalls,
    finishReason: behaviour.finishReason ?? (toolCalls.length > 0 && natural === 'stop' ? 'tool_calls' : natural),
    stopSequence,
    usage: usageOf(request, behaviour, written, behaviour.reasoningTokens ?? thoughts.length),
  };
}

function textTokens(
  request: SimRequest,
  behaviour: Behaviour,
): { readonly tokens: readonly string[]; readonly natural: string; readonly stopSequence: string | undefined } {
  const wanted = behaviour.json ?? behaviour.text;
  const made = wanted === undefined ? makeText(request.prompt, behaviour.tokens) : tokenize(wanted);
  const echo = behaviour.echoesImages === true ? tokenize(` Images: ${request.images.join('; ')}.`) : [];
  const { kept, stopSequence } = beforeStop([...made, ...echo], request.stopSequences);
  const limit = behaviour.ignoresMaxTokens === true ? undefined : request.maxTokens;
  const tokens = limit === undefined ? kept : kept.slice(0, limit);
  const isCut = tokens.length < kept.length;
  return { tokens, natural: isCut ? 'length' : 'stop', stopSequence: isCut ? undefined : stopSequence };
}

function beforeStop(
  tokens: readonly string[],
  stopSequences: readonly string[],
): { readonly kept: readonly string[]; readonly stopSequence: string | undefined } {
  const text = tokens.join('');
  const found = stopSequences
    .map((sequence) => ({ sequence, at: text.indexOf(sequence) }))
    .filter(({ at, sequence }) => at >= 0 && sequence !== '')
    .sort((a, b) => a.at - b.at)[0];
  if (!found) return { kept: tokens, stopSequence: undefined };
  return { kept: tokenize(text.slice(0, found.at)), stopSequence: found.sequence };
}

const CALL_ID_PREFIX: Readonly<Record<string, string>> = { 'anthropic-messages': 'toolu' };

function toolCallsOf(
  request: SimRequest,
  behaviour: Behaviour,
  serial: number,
  forced: string | undefined,
): readonly CalledTool[] {
  const called =
    forced !== undefined && behaviour.json !== undefined
      ? [{ name: forced, arguments: behaviour.json }]
      : (behaviour.toolCalls ?? []);
  const prefix = CALL_ID_PREFIX[request.wire] ?? 'call';
  return called.map((call, index) => ({
    id: `${prefix}_sim_${serial}_${index}`,
    ...call,
    isCustom: request.tools.some(({ name, isCustom }) => isCustom && name === call.name),
  }));
}

function usageOf(request: SimRequest, behaviour: Behaviour, written: number, reasoning: number): Usage {
  const prompt = behaviour.promptTokens ?? Math.max(1, Math.ceil(Buffer.byteLength(request.prompt) / 4));
  const isAdditive = behaviour.isReasoningAdditive === true;
  const completion = behaviour.completionTokens ?? written + (isAdditive ? 0 : reasoning);
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion + (isAdditive ? reasoning : 0),
    prompt_tokens_details: {
      cached_tokens: behaviour.cachedTokens ?? 0,
      audio_tokens: 0,
      ...(behaviour.cacheWriteTokens === undefined ? {} : { cache_write_tokens: behaviour.cacheWriteTokens }),
    },
    completion_tokens_details: {
      reasoning_tokens: reasoning,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  };
}

export function zeroUsage(): Usage {
  return {
    prompt_tokens: 0,
    completion_tokens: 0,
    total_tokens: 0,
    prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: 0,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  };
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
