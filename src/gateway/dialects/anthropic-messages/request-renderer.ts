import type { Refusal } from '../../../kernel/errors';
import type { JsonObject } from '../../../kernel/json-object';
import type { RenderTarget } from '../dialect';
import { FirstRefusal } from '../first-refusal';
import { isAbsent } from '../json-value';
import { fieldOf, type NeutralRequest } from '../neutral/neutral-request';
import { closedSchema } from './closed-schema';
import { MessageRenderer } from './message-renderer';
import { type ModelTraits, traitsOf } from './model-traits';
import { renderThinking } from './thinking-renderer';
import { renderTool, renderToolChoice } from './tool-renderer';

const NOT_SAYABLE = 'cannot be asked of the provider of this model';

/** Of OpenAI's: they label, keep or cache a call and change nothing of its answer. */
const HINTS = new Set(['metadata', 'store', 'prompt_cache_key', 'prompt_cache_retention', 'prompt_cache_options']);

/** JSON of the request as Anthropic takes it, or a refusal that names the client's field that it has no word for. */
export function renderMessagesRequest(request: NeutralRequest, target: RenderTarget): Buffer | Refusal {
  const refusals = new FirstRefusal();
  const traits = traitsOf(target.upstreamModel);
  const renderer = new MessageRenderer(traits, refusals);
  refuseOptions(request, refusals);
  const maxTokens = request.maxOutputTokens ?? target.maxOutputTokens;
  const messages = renderer.messages(request.messages);
  if (messages.length === 0) {
    refusals.note(fieldOf(request, 'instructions'), 'must be followed by a message of the user');
  }
  const system = renderer.texts(request.instructions);
  const { thinking, effort } = renderThinking(request, maxTokens, traits, messages);
  const format = outputFormatOf(request, traits, refusals);
  const config = { ...(effort === undefined ? {} : { effort }), ...(format ? { format } : {}) };
  const toolChoice = renderToolChoice(request, refusals);
  const body: JsonObject = {
    model: target.upstreamModel,
    max_tokens: maxTokens,
    ...(system.length > 0 ? { system } : {}),
    messages,
    ...(request.tools.length > 0 ? { tools: request.tools.map((tool) => renderTool(tool, traits, refusals)) } : {}),
    ...(toolChoice ? { tool_choice: toolChoice } : {}),
    ...samplingOf(request, traits, refusals),
    ...stopSequencesOf(request, refusals),
    ...(thinking ? { thinking } : {}),
    ...(Object.keys(config).length > 0 ? { output_config: config } : {}),
    ...(request.endUser === undefined ? {} : { metadata: { user_id: request.endUser } }),
    ...serviceTierOf(request, refusals),
    ...(request.stream ? { stream: true } : {}),
  };
  return refusals.refusal ?? Buffer.from(JSON.stringify(body));
}

function refuseOptions({ openAiOptions }: NeutralRequest, refusals: FirstRefusal): void {
  for (const [name, value] of Object.entries(openAiOptions)) {
    if (!isAbsent(value) && !HINTS.has(name)) refusals.note(name, NOT_SAYABLE);
  }
}

/**
 * Anthropic's temperature ends where OpenAI's default is; newer models take nothing but defaults. A `top_p` of 1 leaves
 * nothing out, and is refused beside a temperature: it is not sent.
 */
function samplingOf(request: NeutralRequest, traits: ModelTraits, refusals: FirstRefusal): JsonObject {
  const { temperature, topP, topK } = request;
  const asked = { temperature, topP: topP === 1 ? undefined : topP, topK };
  if (temperature !== undefined && temperature > 1) {
    refusals.note(fieldOf(request, 'temperature'), 'must not be above 1 for the provider of this model');
  }
  if (!traits.takesSampling) {
    if (temperature === 1) asked.temperature = undefined;
    for (const field of ['temperature', 'topP', 'topK'] as const) {
      if (asked[field] !== undefined) refusals.note(fieldOf(request, field), 'is not taken by this model');
    }
  }
  return { temperature: asked.temperature, top_p: asked.topP, top_k: asked.topK };
}

function stopSequencesOf(request: NeutralRequest, refusals: FirstRefusal): JsonObject {
  const { stopSequences } = request;
  if (stopSequences.some((sequence) => sequence.trim() === '')) {
    refusals.note(fieldOf(request, 'stopSequences'), 'must hold more than white space for the provider of this model');
  }
  return stopSequences.length > 0 ? { stop_sequences: stopSequences } : {};
}

function outputFormatOf(request: NeutralRequest, traits: ModelTraits, refusals: FirstRefusal): JsonObject | undefined {
  const { outputFormat } = request;
  if (!outputFormat) return undefined;
  const field = fieldOf(request, 'outputFormat');
  if (outputFormat.type === 'json_object') {
    refusals.note(field, 'must be a json_schema with its schema for the provider of this model');
    return undefined;
  }
  if (!traits.holdsToSchemas) refusals.note(field, NOT_SAYABLE);
  return { type: 'json_schema', schema: closedSchema(outputFormat.schema) };
}

/** Capacity that was paid for is used where there is any; a lower price for waiting is not to be had. */
function serviceTierOf(request: NeutralRequest, refusals: FirstRefusal): JsonObject {
  switch (request.serviceTier) {
    case undefined:
      return {};
    case 'auto':
    case 'priority':
    case 'fast':
      return { service_tier: 'auto' };
    case 'default':
      return { service_tier: 'standard_only' };
    default:
      refusals.note(fieldOf(request, 'serviceTier'), NOT_SAYABLE);
      return {};
  }
}
