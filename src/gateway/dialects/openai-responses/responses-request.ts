import { type Refusal } from '../../../kernel/errors';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import { checkBoolean, checkName, checkPositiveInteger, modelOf, sessionNamed } from '../field-checks';
import type { InferenceRequest } from '../inference-request';
import { invalid } from '../invalid-request';
import { isAbsent, isArray } from '../json-value';
import { passOnBytes } from '../pass-on';
import { checkRequestedMedia, requestedMedia } from '../openai-chat/requested-media';
import { parseRequestBody, PricedFields } from '../request-body';
import { checkInput, type InputMeasure } from './input-shape';
import { BYTES_OF_READING_TOOL } from '../unseen-text';

/** A request for a response that was understood. */
export interface ResponsesRequest extends InferenceRequest {
  readonly dialect: 'openai-responses';
}

const PRICED_FIELDS = new PricedFields([
  'model',
  'input',
  'instructions',
  'stream',
  'max_output_tokens',
  'tools',
  'modalities',
  'audio',
  'previous_response_id',
  'conversation',
  'background',
  'prompt',
]);

/** Tools that the provider runs itself and that bring text into the prompt, also under names that end in a version. */
const READING_TOOL = /^(?:web_search(?:_preview)?(?:_\d+)*|file_search|code_interpreter|mcp)$/;

/** Never throws: a body that cannot be used is a refusal that names the field. */
export function parseResponsesRequest(raw: Buffer): ResponsesRequest | Refusal {
  const parsed = parseRequestBody(raw, PRICED_FIELDS);
  if ('code' in parsed) return parsed;
  const { bytes, layout, body } = parsed;

  const model = modelOf(body);
  if (typeof model !== 'string') return model;
  const measure: InputMeasure = { images: 0, mediaDataBytes: 0, audioParts: 0, audioDataBytes: 0, unseenTextBytes: 0 };
  const refusal = checkStored(body) ?? checkInput(body.input, measure) ?? checkOptions(body);
  if (refusal) return refusal;

  const { max_output_tokens: maxOutputTokens, prompt_cache_key: cacheKey } = body;
  return {
    dialect: 'openai-responses',
    raw: bytes,
    layout,
    body,
    model,
    stream: body.stream === true,
    includeUsage: true,
    ...(typeof maxOutputTokens === 'number' ? { maxOutputTokens } : {}),
    choices: 1,
    promptTextBytes: Math.max(0, bytes.length - measure.mediaDataBytes - measure.audioDataBytes),
    unseenTextBytes: measure.unseenTextBytes + readingTools(body) * BYTES_OF_READING_TOOL,
    images: measure.images,
    audioParts: measure.audioParts,
    audioDataBytes: measure.audioDataBytes,
    ...askedMedia(body),
    ...sessionNamed(cacheKey),
  };
}

/** What a provider is sent: the client's bytes but for its name of the model and `session_id`, which is ours. */
export function passOnResponses(request: InferenceRequest, upstreamModel: string): Buffer {
  return passOnBytes(request, upstreamModel);
}

/** What builds on something that a provider keeps for one account: all tenants share it, and nothing of it was priced. */
function checkStored({ previous_response_id, conversation, background, prompt }: JsonObject): Refusal | undefined {
  const reason = 'is not supported: stored responses are not served yet, send the whole conversation as input';
  if (!isAbsent(previous_response_id)) return invalid('previous_response_id', reason);
  if (!isAbsent(conversation)) return invalid('conversation', reason);
  if (!isAbsent(prompt)) {
    return invalid('prompt', 'is not supported: stored prompts are not served yet, send instructions and input');
  }
  if (isAbsent(background) || background === false) return undefined;
  return background === true
    ? invalid('background', 'is not supported: stored responses are not served yet, so nobody could fetch this one')
    : invalid('background', 'must be a boolean');
}

function checkOptions(body: JsonObject): Refusal | undefined {
  const { instructions, reasoning, text, stream_options, metadata, include } = body;
  if (!isAbsent(instructions) && typeof instructions !== 'string') return invalid('instructions', 'must be a string');
  for (const [field, value] of Object.entries({ reasoning, text, stream_options, metadata })) {
    if (!isAbsent(value) && !isObject(value)) return invalid(field, 'must be an object');
  }
  if (isObject(text) && !isAbsent(text.format) && !isObject(text.format)) {
    return invalid('text.format', 'must be an object');
  }
  if (!isAbsent(include) && !isArray(include)) return invalid('include', 'must be an array');
  return (
    checkBoolean(body, 'stream') ??
    checkBoolean(body, 'store') ??
    checkPositiveInteger(body, 'max_output_tokens') ??
    checkTools(body.tools) ??
    checkName(body, 'session_id') ??
    checkRequestedMedia(body)
  );
}

function checkTools(tools: unknown): Refusal | undefined {
  if (isAbsent(tools)) return undefined;
  if (!isArray(tools)) return invalid('tools', 'must be an array');
  for (const [index, tool] of tools.entries()) {
    if (!isObject(tool)) return invalid(`tools[${index}]`, 'must be an object');
    if (typeof tool.type !== 'string') return invalid(`tools[${index}].type`, 'must be a string');
  }
  return undefined;
}

function readingTools({ tools }: JsonObject): number {
  if (!isArray(tools)) return 0;
  return tools.filter((tool) => isObject(tool) && typeof tool.type === 'string' && READING_TOOL.test(tool.type)).length;
}

function askedMedia(body: JsonObject): Pick<InferenceRequest, 'asksForAudio' | 'asksForImages'> {
  const { asksForAudio, asksForImages } = requestedMedia(body);
  const tools = isArray(body.tools) ? body.tools : [];
  const paints = tools.some((tool) => isObject(tool) && tool.type === 'image_generation');
  return { asksForAudio, asksForImages: asksForImages || paints };
}
