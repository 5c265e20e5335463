import type { Refusal } from '../kernel/errors';
import { isObject } from '../kernel/json-object';
import type { UpstreamTarget } from '../upstreams/upstream.port';

const MAX_BODY_BYTES = 65_536;
const MAX_MESSAGE_CHARACTERS = 500;
const REMOVED = '[removed]';

/** Keys, tokens, accounts, requests, addresses: what names us at the provider, whatever provider it is. */
const INTERNALS: readonly RegExp[] = [
  /\bBearer\s+\S+/gi,
  /\b(?:sk|pk|rk|gsk|xai|key|api[-_]?key)[-_][\w*.-]{6,}/gi,
  /\b(?:org|proj|user|acct|req|request|chatcmpl|resp|msg|file)[-_][A-Za-z0-9]{8,}\b/g,
  /\b[a-z][a-z0-9+.-]*:\/\/\S+/gi,
  /\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b/g,
  /[\w.+-]+@[\w-]+\.[\w.-]+/g,
];

/**
 * The refusal with the upstream's own explanation of a 4xx, fit for the tenant's eyes: one line, bounded, under the model
 * name the tenant used, without anything that names our account. Unchanged where the upstream does not explain itself.
 */
export function withUpstreamMessage(refusal: Refusal, body: Buffer, target: UpstreamTarget, model: string): Refusal {
  const error = errorIn(body);
  const message = error && textOf(error.message);
  if (message === undefined) return refusal;
  const param = error && textOf(error.param);
  return {
    ...refusal,
    ...(param !== undefined && /^[\w.[\]-]{1,100}$/.test(param) ? { param } : {}),
    values: { ...refusal.values, message: cleaned(message, target, model) },
  };
}

function cleaned(message: string, target: UpstreamTarget, model: string): string {
  let text = message.slice(0, 8 * MAX_MESSAGE_CHARACTERS);
  if (target.apiKey !== '') text = text.replaceAll(target.apiKey, REMOVED);
  for (const pattern of INTERNALS) text = text.replace(pattern, REMOVED);
  text = text.replaceAll(new URL(target.baseUrl).hostname, REMOVED);
  if (target.upstreamModel !== model) text = text.replaceAll(target.upstreamModel, model);
  text = text.replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ').trim();
  return text.length > MAX_MESSAGE_CHARACTERS ? `${text.slice(0, MAX_MESSAGE_CHARACTERS - 1)}…` : text;
}

/** OpenAI's `{error: {message, param}}`, and what its imitators make of it: `{error: "…"}`, `{message}`, `{detail}`. */
function errorIn(body: Buffer): { readonly message: unknown; readonly param?: unknown } | undefined {
  if (body.length > MAX_BODY_BYTES) return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
  if (!isObject(parsed)) return undefined;
  const { error, message, detail } = parsed;
  if (isObject(error)) return { message: error.message, param: error.param };
  return { message: error ?? message ?? detail };
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value.trim() !== '' ? value : undefined;
}
