import { type Refusal } from '../../../kernel/errors';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import type { InferenceRequest } from '../inference-request';
import { invalid, isRefusal } from '../invalid-request';
import { isAbsent, isArray } from '../json-value';
import type { NeutralField, NeutralReasoning, NeutralRequest } from '../neutral/neutral-request';
import { optionalText, unknownField, untranslatable } from './chat-fields';
import { readMessages } from './chat-messages';
import { readOutputFormat, readTools } from './chat-tools';

/** Fields that mean the same in each of OpenAI's APIs. */
const SHARED_OPTIONS = ['metadata', 'store', 'prompt_cache_key', 'prompt_cache_retention', 'prompt_cache_options'];
const FIELDS: ReadonlySet<string> = new Set([
  ...SHARED_OPTIONS,
  'model',
  'messages',
  'stream',
  'stream_options',
  'max_tokens',
  'max_completion_tokens',
  'temperature',
  'top_p',
  'top_k',
  'stop',
  'tools',
  'tool_choice',
  'parallel_tool_calls',
  'response_format',
  'reasoning_effort',
  'thinking',
  'verbosity',
  'user',
  'safety_identifier',
  'service_tier',
  // Ours: it names a conversation.
  'session_id',
]);
/** Usage is told in every dialect; padding against eavesdroppers changes no answer. */
const STREAM_OPTIONS: ReadonlySet<string> = new Set(['include_usage', 'include_obfuscation']);

/** What clients send that ask for nothing beyond the ordinary; anything else in these fields only chat can say. */
const ORDINARY: Readonly<Record<string, (value: unknown) => boolean>> = {
  n: (value) => value === 1,
  frequency_penalty: (value) => value === 0,
  presence_penalty: (value) => value === 0,
  logprobs: (value) => value === false,
  top_logprobs: (value) => value === 0,
  logit_bias: (value) => isObject(value) && Object.keys(value).length === 0,
  modalities: (value) => isArray(value) && value.every((modality) => modality === 'text'),
  functions: (value) => isArray(value) && value.length === 0,
};

/** What a chat request says, for a provider that speaks another API. */
export function chatToNeutral(request: InferenceRequest): NeutralRequest | Refusal {
  const { body, model, stream, maxOutputTokens } = request;
  const refusal = checkFields(body);
  if (refusal) return refusal;
  const conversation = readMessages(body.messages);
  const tools = readTools(body);
  const outputFormat = readOutputFormat(body.response_format);
  const stopSequences = readStop(body.stop);
  const reasoning = readReasoning(body);
  if (isRefusal(conversation)) return conversation;
  if (isRefusal(tools)) return tools;
  if (outputFormat && isRefusal(outputFormat)) return outputFormat;
  if (isRefusal(stopSequences)) return stopSequences;
  if (reasoning && isRefusal(reasoning)) return reasoning;
  const { parallel_tool_calls: parallelToolCalls } = body;
  return {
    model,
    stream,
    ...conversation,
    ...tools,
    ...(typeof parallelToolCalls === 'boolean' ? { parallelToolCalls } : {}),
    ...(maxOutputTokens === undefined ? {} : { maxOutputTokens }),
    ...numbersOf(body),
    stopSequences,
    ...(reasoning ? { reasoning } : {}),
    ...(outputFormat ? { outputFormat } : {}),
    ...optionalText(body, 'verbosity', 'verbosity'),
    ...optionalText(body, 'user', 'endUser'),
    ...optionalText(body, 'safety_identifier', 'endUser'),
    ...optionalText(body, 'service_tier', 'serviceTier'),
    openAiOptions: optionsOf(body),
    names: namesIn(body),
  };
}

const NUMBERS = { temperature: 'temperature', top_p: 'topP', top_k: 'topK' } as const;
const TEXTS = ['reasoning_effort', 'verbosity', 'user', 'safety_identifier', 'service_tier'];

function checkFields(body: JsonObject): Refusal | undefined {
  for (const [field, value] of Object.entries(body)) {
    if (isAbsent(value) || FIELDS.has(field)) continue;
    const isOrdinary = Object.hasOwn(ORDINARY, field) ? ORDINARY[field] : undefined;
    if (isOrdinary?.(value) !== true) return untranslatable(field);
  }
  for (const field of Object.keys(NUMBERS)) {
    const value = body[field];
    if (!isAbsent(value) && typeof value !== 'number') return invalid(field, 'must be a number');
  }
  for (const field of TEXTS) {
    const value = body[field];
    if (!isAbsent(value) && typeof value !== 'string') return invalid(field, 'must be a string');
  }
  const { parallel_tool_calls: parallel, stream_options: streamOptions } = body;
  if (!isAbsent(parallel) && typeof parallel !== 'boolean') return invalid('parallel_tool_calls', 'must be a boolean');
  return isObject(streamOptions) ? unknownField(streamOptions, STREAM_OPTIONS, 'stream_options') : undefined;
}

function numbersOf(body: JsonObject): {
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
} {
  const numbers = Object.entries(NUMBERS).filter(([field]) => typeof body[field] === 'number');
  return Object.fromEntries(numbers.map(([field, name]) => [name, body[field] as number]));
}

function readStop(stop: unknown): readonly string[] | Refusal {
  if (isAbsent(stop)) return [];
  const sequences = isArray(stop) ? stop : [stop];
  const texts = sequences.filter((sequence) => typeof sequence === 'string');
  return texts.length === sequences.length ? texts : invalid('stop', 'must be a string or an array of strings');
}

/** OpenAI asks for an effort; `thinking` is what other providers of chat take, as Anthropic has it. */
function readReasoning({ reasoning_effort: effort, thinking }: JsonObject): NeutralReasoning | Refusal | undefined {
  const asked = typeof effort === 'string' ? { effort } : undefined;
  if (isAbsent(thinking)) return asked;
  if (!isObject(thinking)) return invalid('thinking', 'must be an object');
  const refusal = unknownField(thinking, new Set(['type', 'budget_tokens']), 'thinking');
  if (refusal) return refusal;
  const { type, budget_tokens: budgetTokens } = thinking;
  if (type !== 'enabled' && type !== 'disabled' && type !== 'adaptive') return untranslatable('thinking.type');
  if (!isAbsent(budgetTokens) && typeof budgetTokens !== 'number') {
    return invalid('thinking.budget_tokens', 'must be a number');
  }
  return {
    ...asked,
    isEnabled: type !== 'disabled',
    ...(type === 'adaptive' ? { isAdaptive: true } : {}),
    ...(typeof budgetTokens === 'number' ? { budgetTokens } : {}),
  };
}

function optionsOf(body: JsonObject): JsonObject {
  const sent = SHARED_OPTIONS.filter((field) => !isAbsent(body[field]));
  return Object.fromEntries(sent.map((field) => [field, body[field]]));
}

function namesIn(body: JsonObject): Readonly<Partial<Record<NeutralField, string>>> {
  return {
    instructions: 'messages',
    maxOutputTokens: isAbsent(body.max_completion_tokens) ? 'max_tokens' : 'max_completion_tokens',
    stopSequences: 'stop',
    reasoning: isAbsent(body.reasoning_effort) ? 'thinking' : 'reasoning_effort',
    outputFormat: 'response_format',
    endUser: isAbsent(body.safety_identifier) ? 'user' : 'safety_identifier',
  };
}
