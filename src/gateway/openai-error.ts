import { ERROR_SPECS, refusalStatus, type ErrorCode, type Refusal } from '../kernel/errors';
import type { Locale } from '../platform/i18n/messages';
import { renderMessage } from '../platform/i18n/render-message';
import { openAiRateLimitHeaders, rateLimitsOfRefusal } from './rate-limit-headers';

/** The error body of the OpenAI API; `code` is our stable code. The control plane answers in the same shape. */
export interface OpenAiErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: ErrorCode;
    /** RFC 3339: when the refused window ends. */
    readonly window_resets_at?: string;
  };
}

export interface RenderedError {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: OpenAiErrorBody;
}

/** Beyond this wait a client should tell its user instead of sending the request again by itself. */
const LONGEST_RETRY_WAIT_MS = 60_000;

/** `nowMs` turns the end of a refused window into seconds of `retry-after`. */
export function renderOpenAiError(refusal: Refusal, locale: Locale, nowMs: number): RenderedError {
  const spec = ERROR_SPECS[refusal.code];
  const waitMs = waitOf(refusal, nowMs);
  return {
    status: refusalStatus(refusal),
    headers: {
      'x-should-retry': String(isWorthRetrying(refusal, waitMs)),
      ...openAiRateLimitHeaders(rateLimitsOfRefusal(refusal), nowMs),
      ...(refusal.code === 'METHOD_NOT_ALLOWED' ? { allow: String(refusal.values?.allowed ?? '') } : {}),
      ...(waitMs === undefined ? {} : { 'retry-after': String(Math.max(1, Math.ceil(waitMs / 1000))) }),
    },
    body: {
      error: {
        message: renderMessage(refusal, locale),
        type: spec.type,
        param: refusal.param ?? null,
        code: refusal.code,
        ...(refusal.windowResetsAt ? { window_resets_at: refusal.windowResetsAt.toISOString() } : {}),
      },
    },
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
