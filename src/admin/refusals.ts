import { refuse, RefusalError } from '../kernel/errors';

export function invalid(param: string, reason: string): RefusalError {
  return new RefusalError(refuse('INVALID_REQUEST', { param, values: { reason } }));
}

/** `what` is a kind of thing, such as `tenant`; the id is the caller's own and not repeated. */
export function notFound(what: string): RefusalError {
  return new RefusalError(refuse('NOT_FOUND', { values: { what } }));
}

export function conflict(param: string, reason: string): RefusalError {
  return new RefusalError(refuse('CONFLICT', { param, values: { reason } }));
}
