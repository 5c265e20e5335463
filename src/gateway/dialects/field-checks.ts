import { type Refusal } from '../../kernel/errors';
import type { JsonObject } from '../../kernel/json-object';
import { invalid } from './invalid-request';
import { isAbsent } from './json-value';

/** Of names that end up in rows and keys: of models, sessions, users. */
export const MAX_NAME_LENGTH = 256;
/** Also halves of surrogate pairs: Postgres takes neither in text, and the name goes into the request log. */
const UNPRINTABLE = /[\p{Cc}\p{Cs}]/u;

/** The model that a body of any dialect asks for. */
export function modelOf({ model }: JsonObject): string | Refusal {
  if (typeof model !== 'string' || model === '') return invalid('model', 'must be a non-empty string');
  if (model.length > MAX_NAME_LENGTH) return invalid('model', `must not be longer than ${MAX_NAME_LENGTH} characters`);
  if (UNPRINTABLE.test(model)) return invalid('model', 'must not contain control characters');
  return model;
}

/** A body's own name of a conversation, for affinity; what cannot be one is none. */
export function sessionNamed(value: unknown): { readonly sessionId?: string } {
  const isName = typeof value === 'string' && value !== '' && value.length <= MAX_NAME_LENGTH;
  return isName && !UNPRINTABLE.test(value) ? { sessionId: value } : {};
}

/** Where the first field stands that has a value and is not among the known ones: its meaning would be lost. */
export function unknownFieldIn(object: JsonObject, path: string, known: ReadonlySet<string>): string | undefined {
  const odd = Object.keys(object).find((name) => !known.has(name) && !isAbsent(object[name]));
  return odd === undefined || path === '' ? odd : `${path}.${odd}`;
}

/** A name that may be left out. */
export function checkName(body: JsonObject, field: string): Refusal | undefined {
  const value = body[field];
  if (isAbsent(value)) return undefined;
  if (typeof value !== 'string') return invalid(field, 'must be a string');
  return value.length > MAX_NAME_LENGTH
    ? invalid(field, `must not be longer than ${MAX_NAME_LENGTH} characters`)
    : undefined;
}

export function checkBoolean(body: JsonObject, field: string): Refusal | undefined {
  const value = body[field];
  return isAbsent(value) || typeof value === 'boolean' ? undefined : invalid(field, 'must be a boolean');
}

export function checkPositiveInteger(body: JsonObject, field: string): Refusal | undefined {
  const value = body[field];
  return isAbsent(value) || (Number.isSafeInteger(value) && Number(value) >= 1)
    ? undefined
    : invalid(field, 'must be a positive integer');
}
