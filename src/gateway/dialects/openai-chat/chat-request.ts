import { type Refusal } from '../../../kernel/errors';
import { checkBoolean, checkName, checkPositiveInteger, modelOf, sessionNamed } from '../field-checks';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import type { InferenceRequest } from '../inference-request';
import { invalid, isRefusal } from '../invalid-request';
import { isAbsent, isArray } from '../json-value';
import { passOnBytes } from '../pass-on';
import { parseRequestBody, PricedFields, type RequestBody } from '../request-body';
import { memberOf, rebuildMembers } from '../top-level-scan';
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
  const measure: MessageMeasure = {
    images: 0,
    mediaDataBytes: 0,
    audioParts: 0,
    audioDataBytes: 0,
    unseenTextBytes: 0,
  };
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
    promptTextBytes: Math.max(0, bytes.length - measure.mediaDataBytes - measure.audioDataBytes),
    unseenTextBytes: measure.unseenTextBytes,
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
  if (request.stream && !asksUsageCanonically(request)) {
    const options = request.body.stream_options;
    values.set('stream_options', JSON.stringify({ ...(isObject(options) ? options : {}), include_usage: true }));
  }
  return passOnBytes(request, upstreamModel, values);
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
  const refusal =
    checkBoolean(body, 'stream') ??
    checkStreamOptions(body.stream_options) ??
    checkPositiveInteger(body, 'max_completion_tokens') ??
    checkPositiveInteger(body, 'max_tokens');
  if (refusal) return refusal;
  if (!isAbsent(body.n) && !isIntegerWithin(body.n, 1, MAX_CHOICES)) {
    return invalid('n', `must be an integer from 1 to ${MAX_CHOICES}`);
  }
  return checkTools(body.tools) ?? checkUser(body.user) ?? checkName(body, 'session_id');
}

function checkStreamOptions(streamOptions: unknown): Refusal | undefined {
  if (isAbsent(streamOptions)) return undefined;
  if (!isObject(streamOptions)) return invalid('stream_options', 'must be an object');
  const include = streamOptions.include_usage;
  return isAbsent(include) || typeof include === 'boolean'
    ? undefined
    : invalid('stream_options.include_usage', 'must be a boolean');
}

function checkTools(tools: unknown): Refusal | undefined {
  if (isAbsent(tools)) return undefined;
  if (!isArray(tools)) return invalid('tools', 'must be an array');
  const odd = tools.findIndex((tool) => !isObject(tool));
  return odd < 0 ? undefined : invalid(`tools[${odd}]`, 'must be an object');
}

/** Of any length: it goes into no key of ours. */
function checkUser(user: unknown): Refusal | undefined {
  return isAbsent(user) || typeof user === 'string' ? undefined : invalid('user', 'must be a string');
}

function isIntegerWithin(value: unknown, least: number, most: number): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most;
}
