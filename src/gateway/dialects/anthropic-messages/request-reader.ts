import { createHash } from 'node:crypto';

import type { Refusal } from '../../../kernel/errors';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import { FirstRefusal } from '../first-refusal';
import type { InferenceRequest } from '../inference-request';
import { isAbsent, isArray } from '../json-value';
import type {
  NeutralField,
  NeutralOutputFormat,
  NeutralReasoning,
  NeutralRequest,
  NeutralText,
} from '../neutral/neutral-request';
import { isClosedSchema } from './closed-schema';
import { ContentReader } from './content-reader';
import { readTools, readToolChoice } from './tool-reader';

const NAMES: Readonly<Partial<Record<NeutralField, string>>> = {
  instructions: 'system',
  maxOutputTokens: 'max_tokens',
  reasoning: 'thinking',
  outputFormat: 'output_config.format',
  parallelToolCalls: 'tool_choice.disable_parallel_tool_use',
  endUser: 'metadata.user_id',
};

/** Read below, or without effect elsewhere: caching, its diagnosis, and the provider's own choice of another model. */
const KNOWN_FIELDS = new Set([
  'model',
  'messages',
  'system',
  'max_tokens',
  'stream',
  'session_id',
  'tools',
  'tool_choice',
  'thinking',
  'stop_sequences',
  'temperature',
  'top_p',
  'top_k',
  'metadata',
  'output_config',
  'output_format',
  'service_tier',
  'context_management',
  'speed',
  'inference_geo',
  'mcp_servers',
  'cache_control',
  'diagnostics',
  'fallbacks',
]);

const NOT_SAYABLE = 'cannot be asked of the provider of this model';
/** What OpenAI takes for a user's id. */
const MAX_USER_ID_LENGTH = 64;
/** Claude Code's, for Anthropic alone. It changes with each request, so that no other provider could cache what follows. */
const BILLING_NOTE = 'x-anthropic-billing-header:';

/** A request for a message as no dialect has it, or a refusal that names what has no place there. */
export function neutralOfMessages({
  body,
  model,
  stream,
  maxOutputTokens,
}: InferenceRequest): NeutralRequest | Refusal {
  const refusals = new FirstRefusal();
  refusals.unknownFields(body, '', KNOWN_FIELDS);
  refuseOwnOptions(body, refusals);
  const reader = new ContentReader(refusals);
  const messages = isArray(body.messages) ? body.messages.filter(isObject) : [];
  if (maxOutputTokens === 0) refusals.note('max_tokens', 'must be a positive integer');
  const request: NeutralRequest = {
    model,
    stream,
    instructions: reader.texts(body.system, 'system').filter(isInstruction),
    messages: reader.messages(messages),
    tools: readTools(body.tools, refusals),
    ...readToolChoice(body.tool_choice, refusals),
    ...(maxOutputTokens === undefined ? {} : { maxOutputTokens }),
    ...readSampling(body, refusals),
    stopSequences: isArray(body.stop_sequences) ? body.stop_sequences.filter((text) => typeof text === 'string') : [],
    ...readReasoning(body, refusals),
    ...readOutputFormat(body, refusals),
    ...readUser(body.metadata, refusals),
    ...readServiceTier(body.service_tier, refusals),
    openAiOptions: {},
    names: NAMES,
  };
  return refusals.refusal ?? request;
}

function isInstruction({ text }: NeutralText): boolean {
  return !text.startsWith(BILLING_NOTE);
}

/** Options that change what is answered, or where, and that only Anthropic has. */
function refuseOwnOptions(body: JsonObject, refusals: FirstRefusal): void {
  const { inference_geo: place, mcp_servers: servers, context_management: management } = body;
  if (!isAbsent(place) && place !== 'global') refusals.note('inference_geo', NOT_SAYABLE);
  if (isArray(servers) ? servers.length > 0 : !isAbsent(servers)) refusals.note('mcp_servers', NOT_SAYABLE);
  if (isAbsent(management)) return;
  const edits = isObject(management) && isArray(management.edits) ? management.edits : [];
  edits.forEach((edit, index) => {
    // Which thoughts are kept is for the provider that signed them.
    const isHint = isObject(edit) && typeof edit.type === 'string' && edit.type.startsWith('clear_thinking_');
    if (!isHint) refusals.note(`context_management.edits[${index}]`, NOT_SAYABLE);
  });
}

function readSampling(body: JsonObject, refusals: FirstRefusal): Pick<NeutralRequest, 'temperature' | 'topP' | 'topK'> {
  const number = (field: string): number | undefined => {
    const value = body[field];
    if (isAbsent(value)) return undefined;
    if (typeof value === 'number') return value;
    refusals.note(field, 'must be a number');
    return undefined;
  };
  const temperature = number('temperature');
  const topP = number('top_p');
  const topK = number('top_k');
  return {
    ...(temperature === undefined ? {} : { temperature }),
    ...(topP === undefined ? {} : { topP }),
    ...(topK === undefined ? {} : { topK }),
  };
}

function readReasoning(body: JsonObject, refusals: FirstRefusal): { readonly reasoning?: NeutralReasoning } {
  const { thinking, output_config: config } = body;
  const effort = isObject(config) && typeof config.effort === 'string' ? { effort: effortOf(config.effort) } : {};
  if (!isObject(thinking)) return 'effort' in effort ? { reasoning: effort } : {};
  const summary = thinking.display === 'omitted' ? {} : { summary: 'auto' };
  switch (thinking.type) {
    case 'enabled': {
      const budget = typeof thinking.budget_tokens === 'number' ? { budgetTokens: thinking.budget_tokens } : {};
      return { reasoning: { isEnabled: true, ...budget, ...summary, ...effort } };
    }
    case 'adaptive':
      return { reasoning: { isEnabled: true, isAdaptive: true, ...summary, ...effort } };
    case 'between_tools':
      return { reasoning: { isEnabled: true, effort: 'low' } };
    case 'disabled':
      return { reasoning: { isEnabled: false } };
    default:
      refusals.note('thinking.type', NOT_SAYABLE);
      return {};
  }
}

/** The highest that every model of other providers knows. */
function effortOf(effort: string): string {
  return effort === 'xhigh' || effort === 'max' ? 'high' : effort;
}

/** `output_format` is what `output_config.format` was called first. */
function readOutputFormat(body: JsonObject, refusals: FirstRefusal): { readonly outputFormat?: NeutralOutputFormat } {
  const { output_config: config, output_format: early } = body;
  if (isObject(config)) refusals.unknownFields(config, 'output_config', new Set(['effort', 'format']));
  const [format, path] =
    isObject(config) && !isAbsent(config.format) ? [config.format, 'output_config.format'] : [early, 'output_format'];
  if (isAbsent(format)) return {};
  if (!isObject(format) || format.type !== 'json_schema' || !isObject(format.schema)) {
    refusals.note(path, 'must be a json_schema with its schema');
    return {};
  }
  const { schema } = format;
  return { outputFormat: { type: 'json_schema', schema, strict: isClosedSchema(schema) } };
}

/** Who sends more than an id takes (Claude Code: device, account and session) is known by the hash of it. */
function readUser(metadata: unknown, refusals: FirstRefusal): { readonly endUser?: string } {
  if (!isObject(metadata)) return {};
  refusals.unknownFields(metadata, 'metadata', new Set(['user_id']));
  const { user_id: userId } = metadata;
  if (typeof userId !== 'string' || userId === '') return {};
  const isLong = userId.length > MAX_USER_ID_LENGTH;
  return { endUser: isLong ? createHash('sha256').update(userId).digest('hex') : userId };
}

function readServiceTier(tier: unknown, refusals: FirstRefusal): { readonly serviceTier?: string } {
  if (isAbsent(tier)) return {};
  if (tier === 'auto') return { serviceTier: 'auto' };
  if (tier === 'standard_only') return { serviceTier: 'default' };
  refusals.note('service_tier', 'must be auto or standard_only');
  return {};
}
