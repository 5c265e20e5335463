import { isUtf8 } from 'node:buffer';

import { type Refusal } from '../../../kernel/errors';
import { messagesFromInput } from './input-body';
import { invalid, isRefusal } from './invalid-request';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import { isAbsent, isArray } from '../json-value';
import { checkMessages, type MessageMeasure } from './message-shape';
import { hasPrototypeKey } from './prototype-key';
import { checkRequestedMedia, requestedMedia, type RequestedMedia } from './requested-media';
import {
  MAX_JSON_DEPTH,
  memberOf,
  rebuildMembers,
  type ScanFailure,
  scanTopLevel,
  spliceMembers,
  type TopLevel,
} from './top-level-scan';

/** A chat completion request that was understood; its bytes are what is priced and what is sent. */
export interface ChatRequest extends RequestedMedia {
  /** The client's bytes, unless they had duplicate keys or were a Responses-style body: then what they mean. */
  readonly raw: Buffer;
  /** Where the members of `raw` lie. */
  readonly layout: TopLevel;
  /** `raw` parsed. */
  readonly body: JsonObject;
  readonly model: string;
  readonly stream: boolean;
  /** Whether the client asked to see usage on its stream. */
  readonly includeUsage: boolean;
  /** The larger of `max_completion_tokens` and `max_tokens`: which of the two a provider obeys differs. */
  readonly maxOutputTokens?: number;
  /** `n`. */
  readonly choices: number;
  /** Bytes of all that is sent except data of images and audio: an upper bound of the text, for the estimate. */
  readonly promptTextBytes: number;
  readonly images: number;
  readonly audioParts: number;
  /** Of audio that is sent along, as base64. */
  readonly audioDataBytes: number;
}

const MAX_CHOICES = 128;
const MAX_NAME_LENGTH = 256;
/** Also halves of surrogate pairs: Postgres takes neither in text, and the name goes into the request log. */
const UNPRINTABLE = /[\p{Cc}\p{Cs}]/u;
/** Fields that decide what a call costs, in the upper-case form of guardLookalikes. */
const PRICED_FIELDS: ReadonlyMap<string, string> = new Map(
  [
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
  ].map((field) => [foldCase(field), field]),
);

/** Never throws: a body that cannot be used is a refusal that names the field. */
export function parseChatRequest(raw: Buffer): ChatRequest | Refusal {
  const parsed = parseBody(raw);
  if ('code' in parsed) return parsed;
  const { bytes, layout, body } = parsed;

  const model = body.model;
  if (typeof model !== 'string' || model === '') return invalid('model', 'must be a non-empty string');
  if (model.length > MAX_NAME_LENGTH) return invalid('model', `must not be longer than ${MAX_NAME_LENGTH} characters`);
  if (UNPRINTABLE.test(model)) return invalid('model', 'must not contain control characters');
  const measure: MessageMeasure = { images: 0, imageDataUrlBytes: 0, audioParts: 0, audioDataBytes: 0 };
  const refusal = checkMessages(body.messages, measure) ?? checkOptions(body) ?? checkRequestedMedia(body);
  if (refusal) return refusal;

  const limits = [body.max_completion_tokens, body.max_tokens].filter((limit) => typeof limit === 'number');
  const streamOptions = body.stream_options;
  return {
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
  };
}

/**
 * What goes to the provider: the request's own bytes where nothing has to change; `model` replaced by the provider's
 * name for it; usage always requested on streams; `session_id`, which is ours (it names a conversation), left out.
 */
export function renderUpstreamBody(request: ChatRequest, upstreamModel: string): Buffer {
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
function asksUsageCanonically(request: ChatRequest): boolean {
  const member = memberOf(request.layout, 'stream_options');
  return (
    member !== undefined && request.raw.subarray(member.valueStart, member.valueEnd).equals(CANONICAL_STREAM_OPTIONS)
  );
}

interface ParsedBody {
  readonly bytes: Buffer;
  readonly layout: TopLevel;
  readonly body: JsonObject;
}

function parseBody(raw: Buffer): ParsedBody | Refusal {
  if (raw.length === 0) return invalid(undefined, 'the body is empty');
  if (!isUtf8(raw)) return invalid(undefined, 'the body is not valid UTF-8');
  const layout = scanTopLevel(raw);
  if (typeof layout === 'string') return SCAN_REFUSALS[layout];
  let body: unknown;
  try {
    body = JSON.parse(raw.toString('utf8'));
  } catch {
    return SCAN_REFUSALS.malformed;
  }
  if (!isObject(body)) return SCAN_REFUSALS.not_an_object;
  if (hasPrototypeKey(raw, body, layout)) return invalid('__proto__', 'is not allowed as a key');
  const lookalike = guardLookalikes(layout);
  if (lookalike) return lookalike;
  if (isAbsent(body.messages) && !isAbsent(body.input)) {
    const values = messagesFromInput(body);
    return isRefusal(values) ? values : laidOut(rebuildMembers(raw, layout, values));
  }
  return layout.hasDuplicateKeys ? laidOut(rebuildMembers(raw, layout, {})) : { bytes: raw, layout, body };
}

const SCAN_REFUSALS: Readonly<Record<ScanFailure, Refusal>> = {
  malformed: invalid(undefined, 'the body is not valid JSON'),
  not_an_object: invalid(undefined, 'the body must be a JSON object'),
  too_deep: invalid(undefined, `the body is nested deeper than ${MAX_JSON_DEPTH} levels`),
};

/** Of bytes that we made from a valid body, so that they are valid too. */
function laidOut(bytes: Buffer): ParsedBody | Refusal {
  const layout = scanTopLevel(bytes);
  if (typeof layout === 'string') return SCAN_REFUSALS[layout];
  return { bytes, layout, body: JSON.parse(bytes.toString('utf8')) as JsonObject };
}

/**
 * Some providers match field names without regard to case, so `Model` beside `model` could be served and not priced.
 * Unknown fields pass; lookalikes of the fields that decide the price do not.
 */
function guardLookalikes(layout: TopLevel): Refusal | undefined {
  for (const { key } of layout.members) {
    const field = PRICED_FIELDS.get(foldCase(key));
    if (field !== undefined && field !== key) return invalid(key, `is spelled ${field}`);
  }
  return undefined;
}

/** Lower then upper case: also folds the two letters (ſ, K) whose single mappings miss their ASCII form. */
function foldCase(text: string): string {
  return text.toLowerCase().toUpperCase();
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
