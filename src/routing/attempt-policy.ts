import { type Refusal, refuse } from '../kernel/errors';
import type { UpstreamFailureKind } from '../upstreams/upstream.port';

/** A call and its retries never make more attempts than this. */
export const MAX_ATTEMPTS = 3;

/** How one attempt ended, as far as routing is concerned. */
export type AttemptOutcome =
  | { readonly kind: 'status'; readonly status: number; readonly retryAfterMs?: number | undefined }
  | { readonly kind: 'failure'; readonly failure: UpstreamFailureKind };

export interface AttemptSituation {
  /** Something of an answer has gone out to the client: there is no way back. */
  readonly firstByteSent: boolean;
  /** Attempts made so far, this one included. */
  readonly attempts: number;
  /** Whether the plan has another upstream. */
  readonly hasNext: boolean;
  /** Default MAX_ATTEMPTS. */
  readonly maxAttempts?: number;
}

export type AttemptDecision =
  | { readonly action: 'answer' }
  /** With what is told where no retry is made after all. */
  | { readonly action: 'retry_next'; readonly refusal: Refusal }
  | { readonly action: 'reject'; readonly refusal: Refusal };

/** What a status or failure means, before it is asked whether an attempt is left. */
interface Meaning {
  readonly isRetryable: boolean;
  readonly refusal: Refusal;
}

const ANSWER: AttemptDecision = { action: 'answer' };

/**
 * 2xx is an answer. The caller's fault (4xx but those below) is told to the caller, as UPSTREAM_REJECTED with the
 * upstream's status; see withUpstreamMessage. Everything else is ours or the upstream's: the next one is tried, before the
 * first byte only, and the last one decides what the caller hears — never the upstream's words.
 */
export function decideAttempt(outcome: AttemptOutcome, situation: AttemptSituation): AttemptDecision {
  if (outcome.kind === 'status' && outcome.status >= 200 && outcome.status < 300) return ANSWER;
  const { isRetryable, refusal } = outcome.kind === 'status' ? meaningOfStatus(outcome) : FAILURES[outcome.failure];
  const { firstByteSent, attempts, hasNext, maxAttempts = MAX_ATTEMPTS } = situation;
  const isRetried = isRetryable && !firstByteSent && hasNext && attempts < maxAttempts;
  return { action: isRetried ? 'retry_next' : 'reject', refusal };
}

/** Whether a 4xx speaks of the caller's request, rather than of our account, our pace or our route to the upstream. */
export function isCallersFault(status: number): boolean {
  if (status < 400 || status >= 500) return false;
  return !OUR_4XX.has(status);
}

/** Whether an attempt failed by the upstream's doing, or on our way to it. */
export function isUpstreamFault(outcome: AttemptOutcome): boolean {
  if (outcome.kind === 'failure') return true;
  return (outcome.status < 200 || outcome.status >= 300) && !isCallersFault(outcome.status);
}

/** No credit, no right, too slow, in conflict with ourselves, too early, too many. */
const OUR_4XX = new Set([401, 402, 403, 407, 408, 409, 421, 425, 429]);

const RETRYABLE_ERROR: Meaning = { isRetryable: true, refusal: refuse('UPSTREAM_ERROR') };
const RETRYABLE_TIMEOUT: Meaning = { isRetryable: true, refusal: refuse('UPSTREAM_TIMEOUT') };

const FAILURES: Readonly<Record<UpstreamFailureKind, Meaning>> = {
  connect: RETRYABLE_ERROR,
  blocked_address: RETRYABLE_ERROR,
  reset: RETRYABLE_ERROR,
  first_byte_timeout: RETRYABLE_TIMEOUT,
  idle_timeout: RETRYABLE_TIMEOUT,
  // All the time a call may take is used up.
  total_timeout: { isRetryable: false, refusal: refuse('UPSTREAM_TIMEOUT') },
};

function meaningOfStatus({ status, retryAfterMs }: { status: number; retryAfterMs?: number | undefined }): Meaning {
  if (isCallersFault(status)) return { isRetryable: false, refusal: refuse('UPSTREAM_REJECTED', { status }) };
  if (status === 408 || status === 504) return RETRYABLE_TIMEOUT;
  if (status === 429) return { isRetryable: true, refusal: refuse('UPSTREAM_RATE_LIMITED', later(retryAfterMs)) };
  if (status === 503 || status === 529)
    return { isRetryable: true, refusal: refuse('UPSTREAM_ERROR', later(retryAfterMs)) };
  return RETRYABLE_ERROR;
}

function later(retryAfterMs: number | undefined): Pick<Refusal, 'retryAfterMs'> {
  return retryAfterMs === undefined ? {} : { retryAfterMs };
}
