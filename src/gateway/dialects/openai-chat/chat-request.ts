import { type Refusal } from '../../../kernel/errors';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import type { InferenceRequest } from '../inference-request';
import { invalid, isRefusal } from '../invalid-request';
import { isAbsent, isArray } from '../json-value';
import { MAX_NAME_LENGTH, modelOf, sessionNamed } from '../model-name';
import { parseRequestBody, PricedFields, type RequestBody } from '../request-body';
import { memberOf, rebuildMembers, spliceMembers } from '../top-level-scan';
import { messagesFromInput } from './input-body';
import { checkMessages, type MessageMeasure } from './message-shape';
import { checkRequestedMedia, requestedMedia } from './requested-media';

/** A chat completion request that was understood. */
export interface ChatRequest extends InferenceRequest {
  readonly dialect: 'openai-chat';
}

const MAX_CHOICES = 128;
const PRICED_FIELDS = new PricedFields([
  'model',
  'messages',
  'input',
  'stream',
  'stream_options',
  'n',
  'max_tokens',
  'max_completion_tokens',
  'tools',
  'modalities',
  'audio',
]);

/** Never throws: a body that cannot be used is a refusal that names the field. */
export function parseChatRequest(raw: Buffer): ChatRequest | Refusal {
  const parsed = parseRequestBody(raw, PRICED_FIELDS, chatOfInput);
  if ('code' in parsed) return parsed;
  const { bytes, layout, body } = parsed;

  const model = modelOf(body);
  if (typeof model !== 'string') return model;
  const measure: MessageMeasure = { images: 0, imageDataUrlBytes: 0, audioParts: 0, audioDataBytes: 0 };
  const refusal = checkMessages(body.messages, measure) ?? checkOptions(body) ?? checkRequestedMedia(body);
  if (refusal) return refusal;

  const limits = [body.max_completion_tokens, body.max_tokens].filter((limit) => typeof limit === 'number');
  const streamOptions = body.stream_options;
  return {
    dialect: 'openai-chat',
    raw: bytes,
    layout,
    body,
    model,
    stream: body.stream === true,
    includeUsage: isObject(streamOptions) && streamOptions.include_usage === true,
    ...(limits.length > 0 ? { maxOutputTokens: Math.max(...limits) } : {}),
    choices: typeof body.n === 'number' ? body.n : 1,
    promptTextBytes: Math.max(0, bytes.length - measure.imageDataUrlBytes - measure.audioDataBytes),
    images: measure.images,
    audioParts: measure.audioParts,
    audioDataBytes: measure.audioDataBytes,
    ...requestedMedia(body),
    ...sessionNamed(body.prompt_cache_key),
  };
}

/** Cursor's bodies, as the chat request they mean. */
function chatOfInput({ bytes, layout, body }: RequestBody): Buffer | Refusal | undefined {
  if (!isAbsent(body.messages) || isAbsent(body.input)) return undefined;
  const values = messagesFromInput(body);
  return isRefusal(values) ? values : rebuildMembers(bytes, layout, values);
}

/**
 * What goes to the provider: the request's own bytes where nothing has to change; `model` replaced by the provider's
 * name for it; usage always requested on streams; `session_id`, which is ours (it names a conversation), left out.
 */
export function renderUpstreamBody(request: InferenceRequest, upstreamModel: string): Buffer {
  const values = new Map<string, string>();
  if (request.model !== upstreamModel) values.set('model', JSON.stringify(upstreamModel));
  if (request.stream && !asksUsageCanonically(request)) {
    const options = request.body.stream_options;
    values.set('stream_options', JSON.stringify({ ...(isObject(options) ? options : {}), include_usage: true }));
  }
  if (memberOf(request.layout, 'session_id')) {
    return rebuildMembers(request.raw, request.layout, { without: new Set(['session_id']), values });
  }
  return values.size === 0 ? request.raw : spliceMembers(request.raw, request.layout, values);
}

const CANONICAL_STREAM_OPTIONS = Buffer.from('{"include_usage":true}');

/** Compared as bytes: of a key that is repeated inside the object a provider may read another one than we do. */
function asksUsageCanonically(request: InferenceRequest): boolean {
  const member = memberOf(request.layout, 'stream_options');
  return (
    member !== undefined && request.raw.subarray(member.valueStart, member.valueEnd).equals(CANONICAL_STREAM_OPTIONS)
  );
}

function checkOptions(body: JsonObject): Refusal | undefined {
  for (const field of ['stream'] as const) {
    const value = body[field];
    if (!isAbsent(value) && typeof value !== 'boolean') return invalid(field, 'must be a boolean');
  }
  const streamOptions = body.stream_options;
  if (!isAbsent(streamOptions)) {
    if (!isObject(streamOptions)) return invalid('stream_options', 'must be an object');
    const include = streamOptions.include_usage;
    if (!isAbsent(include) && typeof include !== 'boolean') {
      return invalid('stream_options.include_usage', 'must be a boolean');
    }
  }
  for (const field of ['max_completion_tokens', 'max_tokens'] as const) {
    const value = body[field];
    if (!isAbsent(value) && !isIntegerWithin(value, 1, Number.MAX_SAFE_INTEGER)) {
      return invalid(field, 'must be a positive integer');
    }
  }
  if (!isAbsent(body.n) && !isIntegerWithin(body.n, 1, MAX_CHOICES)) {
    return invalid('n', `must be an integer from 1 to ${MAX_CHOICES}`);
  }
  return checkTools(body.tools) ?? checkNames(body);
}

function checkTools(tools: unknown): Refusal | undefined {
  if (isAbsent(tools)) return undefined;
  if (!isArray(tools)) return invalid('tools', 'must be an array');
  const odd = tools.findIndex((tool) => !isObject(tool));
  return odd < 0 ? undefined : invalid(`tools[${odd}]`, 'must be an object');
}

function checkNames(body: JsonObject): Refusal | undefined {
  for (const field of ['user', 'session_id'] as const) {
    const value = body[field];
    if (isAbsent(value)) continue;
    if (typeof value !== 'string') return invalid(field, 'must be a string');
    if (field === 'session_id' && value.length > MAX_NAME_LENGTH) {
      return invalid(field, `must not be longer than ${MAX_NAME_LENGTH} characters`);
    }
  }
  return undefined;
}

function isIntegerWithin(value: unknown, least: number, most: number): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most;
}
