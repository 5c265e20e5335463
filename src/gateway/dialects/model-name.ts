import { type Refusal } from '../../kernel/errors';
import type { JsonObject } from '../../kernel/json-object';
import { invalid } from './invalid-request';

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
