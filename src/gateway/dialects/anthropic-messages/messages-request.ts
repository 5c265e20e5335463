import { type Refusal } from '../../../kernel/errors';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import { modelOf, sessionNamed } from '../field-checks';
import type { InferenceRequest } from '../inference-request';
import { invalid, isRefusal } from '../invalid-request';
import { isAbsent, isArray } from '../json-value';
import { passOnBytes } from '../pass-on';
import { parseRequestBody, PricedFields } from '../request-body';
import { withoutForeignThoughts } from './foreign-thoughts';
import { checkMessages, checkSystem, type MessageMeasure } from './message-shape';
import { traitsOf } from './model-traits';
import { checkTools, toolTextBytes } from './provider-tools';

/** A request for a message that was understood. */
export interface MessagesRequest extends InferenceRequest {
  readonly dialect: 'anthropic-messages';
}

const PRICED_FIELDS = new PricedFields([
  'model',
  'messages',
  'system',
  'tools',
  'max_tokens',
  'stream',
  'thinking',
  'speed',
  'mcp_servers',
  'fallbacks',
]);

/** Never throws: a body that cannot be used is a refusal that names the field. */
export function parseMessagesRequest(raw: Buffer): MessagesRequest | Refusal {
  const request = parseBody(raw);
  if (isRefusal(request)) return request;
  const maxTokens = request.body.max_tokens;
  // 0 asks for nothing but a warm cache.
  if (!isCount(maxTokens)) return invalid('max_tokens', 'must be a non-negative integer');
  return { ...request, maxOutputTokens: maxTokens };
}

/** A request that asks how many tokens it would be: it writes none. */
export function parseCountTokensRequest(raw: Buffer): MessagesRequest | Refusal {
  return parseBody(raw);
}

/**
 * What goes to a provider of the same dialect: the request's own bytes; `model` replaced by the provider's name for it;
 * `session_id`, which is ours (it names a conversation), left out, and so are thoughts of other providers, which would be
 * refused.
 */
export function passOnMessages(request: InferenceRequest, upstreamModel: string): Buffer {
  const own = withoutForeignThoughts(request.body);
  if (!own) return passOnBytes(request, upstreamModel);
  const changes = new Map([['messages', JSON.stringify(own.messages)]]);
  if (!own.mayThink && !traitsOf(upstreamModel).thinksAdaptively) changes.set('thinking', '{"type":"disabled"}');
  return passOnBytes(request, upstreamModel, changes);
}

function parseBody(raw: Buffer): MessagesRequest | Refusal {
  const parsed = parseRequestBody(raw, PRICED_FIELDS);
  if (isRefusal(parsed)) return parsed;
  const { bytes, layout, body } = parsed;
  const model = modelOf(body);
  if (typeof model !== 'string') return model;
  const measure: MessageMeasure = { images: 0, mediaDataBytes: 0, unseenTextBytes: 0 };
  const refusal = checkMessages(body.messages, measure) ?? checkSystem(body.system) ?? checkOptions(body);
  if (refusal) return refusal;
  return {
    dialect: 'anthropic-messages',
    raw: bytes,
    layout,
    body,
    model,
    stream: body.stream === true,
    includeUsage: true,
    choices: 1,
    promptTextBytes: Math.max(0, bytes.length - measure.mediaDataBytes),
    unseenTextBytes: measure.unseenTextBytes + toolTextBytes(body),
    images: measure.images,
    audioParts: 0,
    audioDataBytes: 0,
    asksForAudio: false,
    asksForImages: false,
    ...sessionNamed(sessionOf(body.metadata)),
  };
}

function checkOptions(body: JsonObject): Refusal | undefined {
  const { stream, stop_sequences: stopSequences } = body;
  if (!isAbsent(stream) && typeof stream !== 'boolean') return invalid('stream', 'must be a boolean');
  for (const field of ['tool_choice', 'thinking', 'metadata', 'output_config'] as const) {
    const value = body[field];
    if (!isAbsent(value) && !isObject(value)) return invalid(field, 'must be an object');
  }
  if (!isAbsent(stopSequences)) {
    if (!isArray(stopSequences)) return invalid('stop_sequences', 'must be an array');
    const odd = stopSequences.findIndex((sequence) => typeof sequence !== 'string');
    if (odd >= 0) return invalid(`stop_sequences[${odd}]`, 'must be a string');
  }
  return (
    checkThinking(body.thinking) ??
    checkMetadata(body) ??
    checkTools(body.tools) ??
    checkFallbacks(body.fallbacks) ??
    checkSpeed(body.speed)
  );
}

function checkThinking(thinking: unknown): Refusal | undefined {
  if (!isObject(thinking)) return undefined;
  if (typeof thinking.type !== 'string') return invalid('thinking.type', 'must be a string');
  const budget = thinking.budget_tokens;
  return isAbsent(budget) || isCount(budget)
    ? undefined
    : invalid('thinking.budget_tokens', 'must be a non-negative integer');
}

function checkMetadata({ metadata, session_id: sessionId }: JsonObject): Refusal | undefined {
  if (!isAbsent(sessionId) && typeof sessionId !== 'string') return invalid('session_id', 'must be a string');
  if (!isObject(metadata) || isAbsent(metadata.user_id) || typeof metadata.user_id === 'string') return undefined;
  return invalid('metadata.user_id', 'must be a string');
}

/** Models of the caller's choice would be served at the price of another, and past the key's list of models. */
function checkFallbacks(fallbacks: unknown): Refusal | undefined {
  if (isAbsent(fallbacks) || fallbacks === 'default' || (isArray(fallbacks) && fallbacks.length === 0))
    return undefined;
  return invalid('fallbacks', 'must not name models: ask for one of them by `model`');
}

/** Fast answers cost several times the price of the model. */
function checkSpeed(speed: unknown): Refusal | undefined {
  if (isAbsent(speed) || speed === 'standard') return undefined;
  return invalid('speed', 'must be standard: this model has no price for another');
}

/**
 * Claude Code names its session in the user's id: `user_<hash>_account_<uuid>_session_<uuid>`, later as JSON text with
 * `session_id`. What other clients send there names no conversation.
 */
function sessionOf(metadata: unknown): string | undefined {
  const userId = isObject(metadata) ? metadata.user_id : undefined;
  if (typeof userId !== 'string') return undefined;
  if (!userId.startsWith('{')) return /_session_([\w-]+)$/.exec(userId)?.[1];
  try {
    const told: unknown = JSON.parse(userId);
    return isObject(told) && typeof told.session_id === 'string' ? told.session_id : undefined;
  } catch {
    return undefined;
  }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
