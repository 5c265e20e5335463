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
const LONGEST_RETRY_AFTER_MS = 600_000;
/** Streaks are forgotten, at the latest, this long after their last cool-down ended. */
const FORGOTTEN_AFTER_MS = 600_000;
const SWEEP_AT_SIZE = 1_024;

interface Streak {
  failures: number;
  untilMs: number;
}

/**
 * Which upstreams are left alone for a while, in this process.
 *
 *   well ── failure ──► cooling ── time ──► on trial ── failure ──► cooling, twice as long
 *    ▲                  │     ▲                │
 *    └── success ───────┼─────┼────────────────┘
 *                       └─────┘  failure: as long as it was, or as long as Retry-After asks
 *
 * Failures that arrive while it cools are of calls that were under way: a thousand of them are one failure. Successes
 * then are of such calls too, and end nothing.
 */
export class CoolDowns {
  private readonly streaks = new Map<string, Streak>();

  constructor(private readonly clock: Clock) {}

  /** Whether any upstream may be cooling: what is asked before the others. */
  get isQuiet(): boolean {
    return this.streaks.size === 0;
  }

  isCooling(upstreamId: string): boolean {
    return this.endOf(upstreamId) > this.clock.monotonicMs();
  }

  /** On the monotonic clock; 0 for one that is well. */
  endOf(upstreamId: string): number {
    return this.streaks.get(upstreamId)?.untilMs ?? 0;
  }

  report(upstreamId: string, outcome: AttemptOutcome): void {
    const severity = severityOf(outcome);
    const streak = this.streaks.get(upstreamId);
    if (!severity) {
      if (streak && streak.untilMs <= this.clock.monotonicMs()) this.streaks.delete(upstreamId);
      return;
    }
    this.fail(upstreamId, severity, retryAfterOf(outcome));
  }

  private fail(upstreamId: string, severity: Severity, retryAfterMs: number): void {
    const now = this.clock.monotonicMs();
    const streak = this.streaks.get(upstreamId) ?? { failures: 0, untilMs: 0 };
    if (streak.untilMs <= now) {
      streak.untilMs = now + Math.min(severity.longestMs, severity.firstMs * 2 ** Math.min(streak.failures, 20));
      streak.failures += 1;
    }
    streak.untilMs = Math.max(streak.untilMs, now + retryAfterMs);
    if (this.streaks.size >= SWEEP_AT_SIZE) this.forgetOld(now);
    this.streaks.set(upstreamId, streak);
  }

  /** Upstreams that were deleted while they failed leave their streak behind. */
  private forgetOld(now: number): void {
    for (const [id, { untilMs }] of this.streaks) {
      if (untilMs + FORGOTTEN_AFTER_MS <= now) this.streaks.delete(id);
    }
  }
}

/** Undefined where the upstream did its part. */
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

function retryAfterOf(outcome: AttemptOutcome): number {
  if (outcome.kind !== 'status' || (outcome.status !== 429 && outcome.status !== 503)) return 0;
  return Math.min(LONGEST_RETRY_AFTER_MS, outcome.retryAfterMs ?? 0);
}
