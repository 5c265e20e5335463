import type { Clock } from '../kernel/clock';
import { type AttemptOutcome, isCallersFault } from './attempt-policy';

/** First cool-down of a streak, doubled with each one that follows, up to the longest. */
interface Severity {
  readonly firstMs: number;
  readonly longestMs: number;
}

const UNREACHABLE: Severity = { firstMs: 500, longestMs: 30_000 };
const FAILING: Severity = { firstMs: 250, longestMs: 30_000 };
const SATURATED: Severity = { firstMs: 1_000, longestMs: 60_000 };
/** Our key, our credit or our configuration: it takes a person. */
const MISCONFIGURED: Severity = { firstMs: 5_000, longestMs: 60_000 };
/** What an upstream asks for is honoured up to this. */
export const LONGEST_RETRY_AFTER_MS = 600_000;

/** What the end of an attempt says of its upstream. */
export interface Symptom {
  readonly severity: Severity;
  /** It works, and has too much to do: no reason to take it for broken. */
  readonly isSaturation: boolean;
  /** For how long it asks to be left alone, milliseconds; 0 where it does not ask. */
  readonly retryAfterMs: number;
}

/**
 * For how long one upstream is left alone, as this process sees it.
 *
 *   well ── failure ──► cooling ── time ──► on trial ── failure ──► cooling, twice as long
 *    ▲                  │     ▲                │
 *    └── success ───────┼─────┼────────────────┘
 *                       └─────┘  failure: as long as it was, or as long as Retry-After asks
 *
 * Failures that arrive while it cools are of calls that were under way: a thousand of them are one failure. Successes
 * then are of such calls too, and end nothing. A cool-down of our own choice is a preference, which a call without any
 * other upstream passes over; one that the upstream asked for is kept to.
 */
export class CoolDown {
  private failures = 0;
  private untilMs = 0;
  private askedUntilMs = 0;

  constructor(private readonly clock: Clock) {}

  /** On the monotonic clock; 0 for one that is well. */
  get endMs(): number {
    return this.untilMs;
  }

  /** Until when the upstream asked not to be called; 0 where it never did. */
  get askedEndMs(): number {
    return this.askedUntilMs;
  }

  succeeded(): void {
    if (this.untilMs <= this.clock.monotonicMs()) this.untilMs = this.askedUntilMs = this.failures = 0;
  }

  /** Returns whether a cool-down began with this failure. */
  failed({ severity, retryAfterMs }: Symptom): boolean {
    const now = this.clock.monotonicMs();
    const begins = this.untilMs <= now;
    if (begins) {
      this.untilMs = now + Math.min(severity.longestMs, severity.firstMs * 2 ** Math.min(this.failures, 20));
      this.failures += 1;
    }
    if (retryAfterMs > 0) this.askedFor(retryAfterMs);
    return begins;
  }

  /** It asked this or another process for so much time from now on. Never shortens what it asked for before. */
  askedFor(forMs: number): void {
    const untilMs = this.clock.monotonicMs() + Math.min(LONGEST_RETRY_AFTER_MS, forMs);
    this.askedUntilMs = Math.max(this.askedUntilMs, untilMs);
    this.untilMs = Math.max(this.untilMs, untilMs);
  }

  /** It answers again: only what it asked for still holds. */
  recovered(): void {
    this.failures = 0;
    this.untilMs = this.askedUntilMs;
  }
}

/** Undefined where the upstream did its part. */
export function symptomOf(outcome: AttemptOutcome): Symptom | undefined {
  const severity = severityOf(outcome);
  return severity && { severity, isSaturation: severity === SATURATED, retryAfterMs: retryAfterOf(outcome) };
}

function severityOf(outcome: AttemptOutcome): Severity | undefined {
  if (outcome.kind === 'failure') {
    if (outcome.failure === 'blocked_address') return MISCONFIGURED;
    return outcome.failure === 'connect' ? UNREACHABLE : FAILING;
  }
  const { status } = outcome;
  if ((status >= 200 && status < 300) || isCallersFault(status)) return undefined;
  if (status === 429) return SATURATED;
  // A conflict or a slow body is about one request, not about the upstream.
  if (status === 408 || status === 409 || status === 425) return undefined;
  return status < 500 ? MISCONFIGURED : FAILING;
}

/** Statuses with which an upstream may ask for time: too many calls, or too much load (529: Anthropic's word for it). */
export function mayAskForTime(status: number): boolean {
  return status === 429 || status === 503 || status === 529;
}

function retryAfterOf(outcome: AttemptOutcome): number {
  if (outcome.kind !== 'status' || !mayAskForTime(outcome.status)) return 0;
  return Math.min(LONGEST_RETRY_AFTER_MS, outcome.retryAfterMs ?? 0);
}
