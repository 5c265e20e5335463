import type { Clock } from '../kernel/clock';
import type { RoutableUpstream } from '../upstreams/upstream-directory';
import { Breaker, type BreakerOptions } from './breaker';
import { CoolDown } from './cool-down';
import { HealthScore } from './health-score';

/**
 * Whether a call may be sent to an upstream.
 *
 * - ready: nothing speaks against it. trial: one call may, to see whether it answers again.
 * - cooling: rather not, but who has no other may.
 * - asked_to_wait, open, full: no. due: no, until somebody has leave to try.
 */
export type Readiness = 'ready' | 'trial' | 'cooling' | 'asked_to_wait' | 'open' | 'due' | 'full';

/** What one process knows of one upstream. */
export class UpstreamState {
  /** Calls under way. */
  inFlight = 0;
  /** When it was last called, or first heard of. */
  lastUsedMs: number;
  readonly score = new HealthScore();
  readonly coolDown: CoolDown;
  readonly breaker: Breaker;
  /** While leave to try is asked for. */
  asking: Promise<void> | undefined;
  askAgainMs = 0;

  constructor(
    readonly upstreamId: string,
    /** As it was last called; the id before that. */
    public name: string,
    private readonly clock: Clock,
    breaker: BreakerOptions,
  ) {
    this.lastUsedMs = clock.monotonicMs();
    this.coolDown = new CoolDown(clock);
    this.breaker = new Breaker(breaker, clock);
  }

  /** Nobody has called it since then, on the monotonic clock, and nothing kept anybody from doing so. */
  isIdleSince(sinceMs: number): boolean {
    return this.inFlight === 0 && Math.max(this.lastUsedMs, this.coolDown.endMs, this.breaker.endMs) <= sinceMs;
  }

  readinessFor({ maxConcurrency }: RoutableUpstream): Readiness {
    const { breaker, coolDown } = this;
    if (breaker.state === 'closed' && coolDown.endMs === 0) return this.hasRoom(maxConcurrency) ? 'ready' : 'full';
    const now = this.clock.monotonicMs();
    if (coolDown.askedEndMs > now) return 'asked_to_wait';
    if (breaker.state !== 'closed') {
      if (breaker.isDue) return 'due';
      if (!breaker.awaitsTrial) return 'open';
      return this.hasRoom(maxConcurrency) ? 'trial' : 'full';
    }
    if (!this.hasRoom(maxConcurrency)) return 'full';
    return coolDown.endMs > now ? 'cooling' : 'ready';
  }

  /** Until when it is not called in any case, on the monotonic clock. */
  get endMs(): number {
    return Math.max(this.coolDown.askedEndMs, this.breaker.state === 'open' ? this.breaker.endMs : 0);
  }

  private hasRoom(maxConcurrency: number | null): boolean {
    return maxConcurrency === null || this.inFlight < maxConcurrency;
  }
}
