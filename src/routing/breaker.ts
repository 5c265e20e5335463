import { CircuitState, ConsecutiveBreaker, CountBreaker } from 'cockatiel';
import type { Clock } from '../kernel/clock';

export type BreakerState = 'closed' | 'open' | 'half_open';

export type BreakerEvent =
  /** A failure after which it has failed too often. */
  | 'tripped'
  /** Its time is over, and no other process tries it. */
  | 'trial_allowed'
  | 'trial_succeeded'
  | 'trial_failed'
  /** Another process says so. */
  | 'told_open'
  | 'told_closed';

/** Where an event leads from a state; what is missing cannot happen there. */
export const BREAKER_TRANSITIONS: Readonly<
  Record<BreakerState, Readonly<Partial<Record<BreakerEvent, BreakerState>>>>
> = {
  closed: { tripped: 'open', told_open: 'open', told_closed: 'closed' },
  open: { trial_allowed: 'half_open', told_open: 'open', told_closed: 'closed' },
  half_open: { trial_succeeded: 'closed', trial_failed: 'open', told_open: 'open', told_closed: 'closed' },
};

export interface BreakerOptions {
  /** So many failures in a row trip it, or as many more than half of four times as many calls. 0: nothing does. */
  readonly failures: number;
  /** How long it is open the first time; twice as long after each trial that fails, up to LONGEST_OPEN of it. */
  readonly openMs: number;
}

const LONGEST_OPEN = 6;
/** A call that was allowed to try and has not begun by then is waited for no longer. */
export const TRIAL_MS = 30_000;

/**
 * Keeps calls away from one upstream that keeps failing.
 *
 * Closed, it counts how calls end; too many failures in a row, or more than half of the last ones, trip it. Open, no call
 * is sent for a while. Then one call, of one process, is allowed to try (half-open): its answer closes the breaker, its
 * failure opens it for twice as long. Whoever opens or closes it tells the other processes, which follow.
 *
 *   closed ── tripped ──► open ── time over, trial allowed ──► half-open ── it answers ──► closed
 *                          ▲                                       │
 *                          └──────────── it fails ─────────────────┘
 *
 * How calls end that began before it opened says nothing any more. The counting is cockatiel's; its policy is not used,
 * because it lets each process try for itself, goes by its own clock and cannot be told that a circuit is open.
 */
export class Breaker {
  private current: BreakerState = 'closed';
  private inARow: ConsecutiveBreaker | undefined;
  private ofTheLast: CountBreaker | undefined;
  private untilMs = 0;
  private openForMs: number;
  private isTried = false;

  constructor(
    private readonly options: BreakerOptions,
    private readonly clock: Clock,
  ) {
    this.openForMs = options.openMs;
    this.forget();
  }

  get state(): BreakerState {
    return this.current;
  }

  /** 0 closed, 1 half-open, 2 open: as the metric shows it. */
  get level(): 0 | 1 | 2 {
    return this.current === 'closed' ? 0 : this.current === 'half_open' ? 1 : 2;
  }

  /** While it is open: on the monotonic clock; 0 where it is closed. Half-open: when the trial is waited for no longer. */
  get endMs(): number {
    return this.current === 'closed' ? 0 : this.untilMs;
  }

  /** Open, and its time is over: whoever gets leave may try. */
  get isDue(): boolean {
    return this.current === 'open' && this.untilMs <= this.clock.monotonicMs();
  }

  /** Half-open, and no call tries yet, or the one that did has not begun in time. */
  get awaitsTrial(): boolean {
    return this.current === 'half_open' && (!this.isTried || this.untilMs <= this.clock.monotonicMs());
  }

  /** Where isDue, and no other process tries. */
  allowTrial(): void {
    if (!this.isDue) throw new Error(`a breaker that is ${this.current} allows no trial`);
    this.to('trial_allowed');
    this.isTried = false;
    this.untilMs = this.clock.monotonicMs() + TRIAL_MS;
  }

  /** The call that tries; where awaitsTrial. */
  beginTrial(): void {
    if (!this.awaitsTrial) throw new Error(`a breaker that is ${this.current} awaits no trial`);
    this.isTried = true;
    this.untilMs = this.clock.monotonicMs() + TRIAL_MS;
  }

  /** The call that tried told nothing of the upstream: the next one tries. */
  abandonTrial(): void {
    if (this.current === 'half_open') this.isTried = false;
  }

  /** Returns whether it is closed by this. */
  succeeded(isTrial: boolean): boolean {
    if (this.current === 'closed') {
      this.inARow?.success();
      this.ofTheLast?.success(CircuitState.Closed);
      return false;
    }
    if (!isTrial || this.current !== 'half_open') return false;
    this.to('trial_succeeded');
    return true;
  }

  /** Returns for how long it is opened by this, milliseconds. */
  failed(isTrial: boolean): number | undefined {
    if (this.current === 'half_open' && isTrial) {
      this.openForMs = Math.min(this.options.openMs * LONGEST_OPEN, this.openForMs * 2);
      this.to('trial_failed');
    } else if (this.current === 'closed' && this.trips()) {
      this.to('tripped');
    } else {
      return undefined;
    }
    this.untilMs = this.clock.monotonicMs() + this.openForMs;
    return this.openForMs;
  }

  toldOpen(forMs: number): void {
    this.to('told_open');
    this.openForMs = Math.min(this.options.openMs * LONGEST_OPEN, Math.max(this.options.openMs, forMs));
    this.untilMs = Math.max(this.untilMs, this.clock.monotonicMs() + Math.min(forMs, this.openForMs));
  }

  toldClosed(): void {
    this.to('told_closed');
  }

  private trips(): boolean {
    const isInARow = this.inARow?.failure() ?? false;
    const isOfTheLast = this.ofTheLast?.failure(CircuitState.Closed) ?? false;
    return isInARow || isOfTheLast;
  }

  private to(event: BreakerEvent): void {
    const next = BREAKER_TRANSITIONS[this.current][event];
    if (!next) throw new Error(`a breaker that is ${this.current} cannot be ${event}`);
    if (next === 'closed' && this.current !== 'closed') this.forget();
    if (next === 'open' && this.current !== 'open') this.untilMs = 0;
    this.current = next;
  }

  private forget(): void {
    const { failures, openMs } = this.options;
    this.openForMs = openMs;
    if (failures === 0) return;
    this.inARow = new ConsecutiveBreaker(failures);
    this.ofTheLast = new CountBreaker({ threshold: 0.5, size: 4 * failures });
  }
}
