import { createHash } from 'node:crypto';

import { type Refusal } from '../../../kernel/errors';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import type { RenderTarget } from '../dialect';
import { invalid } from '../invalid-request';
import { isAbsent, isArray } from '../json-value';
import {
  fieldOf,
  type NeutralOutputFormat,
  type NeutralReasoning,
  type NeutralRequest,
  type NeutralTool,
} from '../neutral/neutral-request';
import { effortOfBudget } from '../neutral/reasoning-effort';
import { renderInput, unsaidPart } from './rendered-input';

/** Fields that chat and responses share. */
const SHARED_OPTIONS = [
  'metadata',
  'prompt_cache_key',
  'prompt_cache_retention',
  'prompt_cache_options',
  'safety_identifier',
];
/** The longest name of a user that OpenAI takes. */
const MAX_USER_LENGTH = 64;

/** A request for a response that nothing is kept of, whatever its client asked to be stored. */
export function renderResponsesRequest(request: NeutralRequest, target: RenderTarget): Buffer | Refusal {
  const refusal = whatCannotBeSaid(request);
  if (refusal) return refusal;
  const { instructions, tools, parallelToolCalls, temperature, topP, maxOutputTokens, endUser, serviceTier } = request;
  const { outputFormat, verbosity } = request;
  const reasoning = request.reasoning && renderReasoning(request.reasoning);
  const body: JsonObject = {
    model: target.upstreamModel,
    ...(instructions.length > 0 ? { instructions: instructions.map(({ text }) => text).join('\n\n') } : {}),
    input: renderInput(request.messages),
    ...(tools.length > 0 ? { tools: tools.map(renderTool) } : {}),
    ...renderToolChoice(request),
    ...(parallelToolCalls === undefined ? {} : { parallel_tool_calls: parallelToolCalls }),
    ...(maxOutputTokens === undefined ? {} : { max_output_tokens: maxOutputTokens }),
    ...(temperature === undefined ? {} : { temperature }),
    ...(topP === undefined ? {} : { top_p: topP }),
    // Without it an answer's thoughts could not be sent back: nothing is stored.
    ...(reasoning ? { reasoning, include: ['reasoning.encrypted_content'] } : {}),
    ...(outputFormat || verbosity !== undefined ? { text: renderText(outputFormat, verbosity) } : {}),
    ...(endUser === undefined ? {} : { user: userNameOf(endUser) }),
    ...(serviceTier === undefined ? {} : { service_tier: serviceTier }),
    ...sharedOptions(request.openAiOptions),
    store: false,
    ...(request.stream ? { stream: true } : {}),
  };
  return Buffer.from(JSON.stringify(body));
}

function whatCannotBeSaid(request: NeutralRequest): Refusal | undefined {
  const reason = 'is not supported for this model: its provider’s API has no such field';
  if (request.topK !== undefined) return invalid(fieldOf(request, 'topK'), reason);
  if (request.stopSequences.length > 0) return invalid(fieldOf(request, 'stopSequences'), reason);
  for (const [option, value] of Object.entries(request.openAiOptions)) {
    if (option !== 'store' && !SHARED_OPTIONS.includes(option) && !saysNothing(option, value)) {
      return invalid(option, reason);
    }
  }
  const recording = unsaidPart(request.messages);
  if (recording) return invalid(recording.path, 'is not supported for this model: its provider’s API takes no audio');
  const named = request.messages.some((message) => message.role === 'user' && message.name !== undefined);
  return named
    ? invalid('messages', 'must not name their authors for this model: its provider’s API has no such field')
    : undefined;
}

/** Values that ask for nothing, which clients send by default. */
function saysNothing(option: string, value: unknown): boolean {
  if (isAbsent(value) || value === false) return true;
  if (option === 'n') return value === 1;
  if (option === 'modalities') return isArray(value) && value.every((modality) => modality === 'text');
  return value === 0 || (isObject(value) && Object.keys(value).length === 0);
}

function sharedOptions(options: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(options).filter(([option, value]) => SHARED_OPTIONS.includes(option) && !isAbsent(value)),
  );
}

function renderTool({ type, name, description, parameters, strict, format }: NeutralTool): JsonObject {
  const told = description === undefined ? {} : { description };
  if (type === 'custom') return { type, name, ...told, ...(format === undefined ? {} : { format }) };
  // This API is strict where nothing is said, other APIs are not.
  return { type, name, ...told, parameters: parameters ?? { type: 'object', properties: {} }, strict: strict ?? false };
}

function renderToolChoice({ toolChoice, tools }: NeutralRequest): JsonObject {
  if (!toolChoice) return {};
  if (toolChoice.type !== 'tool') return { tool_choice: toolChoice.type };
  const { name } = toolChoice;
  const isCustom = tools.some((tool) => tool.name === name && tool.type === 'custom');
  return { tool_choice: { type: isCustom ? 'custom' : 'function', name } };
}

/** Undefined where the request leaves it to the model. */
function renderReasoning(asked: NeutralReasoning): JsonObject | undefined {
  const { effort, budgetTokens, isEnabled } = asked;
  const wanted = effort ?? (budgetTokens === undefined ? undefined : effortOfBudget(budgetTokens));
  // Who asks for thoughts in so many words wants to see something of them.
  const summary = asked.summary ?? (isEnabled === true ? 'auto' : undefined);
  if (isEnabled === false || wanted === 'none') return wanted === undefined ? undefined : { effort: wanted };
  if (wanted === undefined && summary === undefined) return undefined;
  return { ...(wanted === undefined ? {} : { effort: wanted }), ...(summary === undefined ? {} : { summary }) };
}

function renderText(format: NeutralOutputFormat | undefined, verbosity: string | undefined): JsonObject {
  return { ...(format ? { format: renderFormat(format) } : {}), ...(verbosity === undefined ? {} : { verbosity }) };
}

function renderFormat(format: NeutralOutputFormat): JsonObject {
  return format.type === 'json_schema' ? { ...format, name: format.name ?? 'response' } : format;
}

/** One that is too long by its digest: it is only there to tell users apart. */
function userNameOf(endUser: string): string {
  return endUser.length <= MAX_USER_LENGTH ? endUser : createHash('sha256').update(endUser).digest('hex');
}
