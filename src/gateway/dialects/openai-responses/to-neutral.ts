import { type Refusal } from '../../../kernel/errors';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import { unknownFieldIn } from '../field-checks';
import type { InferenceRequest } from '../inference-request';
import { invalid, isRefusal } from '../invalid-request';
import { isAbsent, isArray } from '../json-value';
import type { NeutralOutputFormat, NeutralReasoning, NeutralRequest } from '../neutral/neutral-request';
import { readInputMessages } from './input-messages';
import { readTools } from './requested-tools';

/** What this reads, or what was checked when the request came in. */
const READ_FIELDS = [
  ...['model', 'input', 'instructions', 'stream', 'max_output_tokens', 'tools', 'tool_choice', 'parallel_tool_calls'],
  ...['temperature', 'top_p', 'reasoning', 'text', 'user', 'safety_identifier', 'service_tier', 'background'],
  ...['include', 'truncation', 'top_logprobs'],
];

/**
 * Fields without effect on the answer where the provider speaks another dialect: caches work by themselves, nothing is
 * stored, no tool is the provider's own, frames are not padded. `metadata` is repeated in the response.
 */
const HINTS = [
  ...['store', 'metadata', 'stream_options', 'max_tool_calls', 'session_id', 'client_metadata'],
  ...['prompt_cache_key', 'prompt_cache_retention', 'prompt_cache_options'],
];
const KNOWN_FIELDS = new Set([...READ_FIELDS, ...HINTS]);
const TEXT_FIELDS = new Set(['format', 'verbosity']);
const REASONING_FIELDS = new Set(['effort', 'summary', 'generate_summary', 'mode', 'context']);

export function responsesToNeutral({ body, model, stream }: InferenceRequest): NeutralRequest | Refusal {
  const input = readInputMessages(body.input);
  if (isRefusal(input)) return input;
  const tools = readTools(body);
  if (isRefusal(tools)) return tools;
  const text = readText(body.text);
  if (isRefusal(text)) return text;
  const reasoning = readReasoning(body.reasoning);
  if (reasoning && isRefusal(reasoning)) return reasoning;
  const refusal = checkRest(body);
  if (refusal) return refusal;
  const { instructions, parallel_tool_calls: parallel, max_output_tokens: most, temperature, top_p: topP } = body;
  const { user, safety_identifier: safety, service_tier: tier } = body;
  const endUser = typeof user === 'string' ? user : safety;
  return {
    model,
    stream,
    instructions: [
      ...(typeof instructions === 'string' && instructions !== ''
        ? [{ type: 'text', text: instructions } as const]
        : []),
      ...input.instructions,
    ],
    messages: input.messages,
    ...tools,
    ...(typeof parallel === 'boolean' ? { parallelToolCalls: parallel } : {}),
    ...(typeof most === 'number' ? { maxOutputTokens: most } : {}),
    ...(typeof temperature === 'number' ? { temperature } : {}),
    ...(typeof topP === 'number' ? { topP } : {}),
    stopSequences: [],
    ...(reasoning ? { reasoning } : {}),
    ...text,
    ...(typeof endUser === 'string' ? { endUser } : {}),
    ...(typeof tier === 'string' ? { serviceTier: tier } : {}),
    openAiOptions: {},
    names: {
      outputFormat: 'text.format',
      verbosity: 'text.verbosity',
      endUser: typeof user === 'string' ? 'user' : 'safety_identifier',
    },
  };
}

type TextOptions = Pick<NeutralRequest, 'outputFormat' | 'verbosity'>;

function readText(text: unknown): TextOptions | Refusal {
  if (!isObject(text)) return {};
  const { format, verbosity } = text;
  const refusal = checkKnown(text, 'text', TEXT_FIELDS);
  if (refusal) return refusal;
  if (!isAbsent(verbosity) && typeof verbosity !== 'string') return invalid('text.verbosity', 'must be a string');
  const outputFormat = isObject(format) ? readFormat(format) : undefined;
  if (outputFormat && isRefusal(outputFormat)) return outputFormat;
  return { ...(outputFormat ? { outputFormat } : {}), ...(typeof verbosity === 'string' ? { verbosity } : {}) };
}

function readFormat(format: JsonObject): NeutralOutputFormat | Refusal | undefined {
  const { type, name, description, schema, strict } = format;
  switch (type) {
    case 'text':
      return undefined;
    case 'json_object':
      return { type };
    case 'json_schema':
      if (!isObject(schema)) return invalid('text.format.schema', 'must be an object');
      return {
        type,
        schema,
        ...(typeof name === 'string' ? { name } : {}),
        ...(typeof description === 'string' ? { description } : {}),
        ...(typeof strict === 'boolean' ? { strict } : {}),
      };
    default:
      return invalid('text.format.type', 'must be text, json_object or json_schema');
  }
}

function readReasoning(reasoning: unknown): NeutralReasoning | Refusal | undefined {
  if (!isObject(reasoning)) return undefined;
  const { effort, summary, generate_summary: formerly, mode } = reasoning;
  // Which earlier thoughts are read again (`context`) is the provider's to know.
  const refusal = checkKnown(reasoning, 'reasoning', REASONING_FIELDS);
  if (refusal) return refusal;
  for (const [field, value] of Object.entries({ effort, summary })) {
    if (!isAbsent(value) && typeof value !== 'string') return invalid(`reasoning.${field}`, 'must be a string');
  }
  if (!isAbsent(mode) && mode !== 'standard') {
    return invalid('reasoning.mode', 'is not supported for this model: only OpenAI’s own know it');
  }
  const asked = summary ?? formerly;
  return {
    ...(typeof effort === 'string' ? { effort } : {}),
    ...(typeof asked === 'string' ? { summary: asked } : {}),
  };
}

function checkRest(body: JsonObject): Refusal | undefined {
  const { include, truncation, top_logprobs: logprobs } = body;
  if (!isAbsent(truncation) && truncation !== 'disabled') {
    return invalid('truncation', 'must be disabled for this model: its provider leaves nothing out by itself');
  }
  if (!isAbsent(logprobs) && logprobs !== 0) {
    return invalid('top_logprobs', 'is not supported for this model: its provider’s answers are translated without');
  }
  for (const [index, asked] of (isArray(include) ? include : []).entries()) {
    if (asked !== 'reasoning.encrypted_content') {
      return invalid(
        `include[${index}]`,
        'is not supported for this model: its provider’s answers have nothing like it',
      );
    }
  }
  for (const field of ['temperature', 'top_p']) {
    if (!isAbsent(body[field]) && typeof body[field] !== 'number') return invalid(field, 'must be a number');
  }
  for (const field of ['user', 'safety_identifier', 'service_tier']) {
    if (!isAbsent(body[field]) && typeof body[field] !== 'string') return invalid(field, 'must be a string');
  }
  const { parallel_tool_calls: parallel } = body;
  if (!isAbsent(parallel) && typeof parallel !== 'boolean') return invalid('parallel_tool_calls', 'must be a boolean');
  return checkKnown(body, '', KNOWN_FIELDS);
}

function checkKnown(object: JsonObject, path: string, known: ReadonlySet<string>): Refusal | undefined {
  const odd = unknownFieldIn(object, path, known);
  return odd === undefined ? undefined : invalid(odd, 'is not supported for this model: its provider does not know it');
}
