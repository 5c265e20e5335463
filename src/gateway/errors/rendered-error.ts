import { ERROR_SPECS, type Refusal } from '../../kernel/errors';
import type { Locale } from '../../platform/i18n/messages';

export interface RenderedError<Body extends object = object> {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Body;
}

/** Of the request that is refused: what its error depends on beside the refusal. */
export interface RefusedRequest {
  readonly locale: Locale;
  /** Turns the end of a refused window into seconds of `retry-after`. */
  readonly nowMs: number;
  /** Its trace id; undefined for what was no request yet. */
  readonly requestId: string | undefined;
}

/** Beyond this wait a client should tell its user instead of sending the request again by itself. */
const LONGEST_RETRY_WAIT_MS = 60_000;

/** What clients of every dialect read, before limits. */
export function retryHeadersOf(refusal: Refusal, nowMs: number): Readonly<Record<string, string>> {
  const waitMs = waitOf(refusal, nowMs);
  return {
    'x-should-retry': String(isWorthRetrying(refusal, waitMs)),
    ...(refusal.code === 'METHOD_NOT_ALLOWED' ? { allow: String(refusal.values?.allowed ?? '') } : {}),
    ...(waitMs === undefined ? {} : { 'retry-after': String(Math.max(1, Math.ceil(waitMs / 1000))) }),
  };
}

/**
 * A window that ends soon is worth waiting for, though the refusal itself is not one to repeat at once. A limit that names
 * no wait is not met by waiting: a budget that is used up, a call with more tokens than a minute has.
 */
function isWorthRetrying(refusal: Refusal, waitMs: number | undefined): boolean {
  if (waitMs === undefined) return ERROR_SPECS[refusal.code].retryable && refusal.quota === undefined;
  const mayHelp = ERROR_SPECS[refusal.code].retryable || refusal.windowResetsAt !== undefined;
  return mayHelp && waitMs <= LONGEST_RETRY_WAIT_MS;
}

function waitOf(refusal: Refusal, nowMs: number): number | undefined {
  if (refusal.retryAfterMs !== undefined) return Math.max(0, refusal.retryAfterMs);
  if (refusal.windowResetsAt !== undefined) return Math.max(0, refusal.windowResetsAt.getTime() - nowMs);
  return undefined;
}
