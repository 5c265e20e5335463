import type { Clock } from '../kernel/clock';

const WINDOW_S = 10;
/** Also where hardly any call comes, so that the first failures of a quiet hour fail over. */
const LEAST_PER_SECOND = 10;

/**
 * How many retries this process makes: at most a share of its calls of the last ten seconds, and ten a second in any
 * case. Where most calls fail, retrying all of them would double or triple the load on what is left.
 */
export class RetryBudget {
  private readonly calls = new Array<number>(WINDOW_S).fill(0);
  private readonly retries = new Array<number>(WINDOW_S).fill(0);
  private callsInWindow = 0;
  private retriesInWindow = 0;
  private second: number;

  /** @param percent of the calls; 100: every call may be retried once, and more where others are not */
  constructor(
    private readonly percent: number,
    private readonly clock: Clock,
  ) {
    this.second = this.now();
  }

  countCall(): void {
    const slot = this.slot();
    this.calls[slot] = (this.calls[slot] ?? 0) + 1;
    this.callsInWindow += 1;
  }

  /** Whether a retry may be made; it is counted. */
  spend(): boolean {
    const slot = this.slot();
    const allowed = (this.callsInWindow * this.percent) / 100 + (this.percent > 0 ? LEAST_PER_SECOND * WINDOW_S : 0);
    if (this.retriesInWindow + 1 > allowed) return false;
    this.retries[slot] = (this.retries[slot] ?? 0) + 1;
    this.retriesInWindow += 1;
    return true;
  }

  private now(): number {
    return Math.floor(this.clock.monotonicMs() / 1_000);
  }

  /** Of the running second; what is older than the window is forgotten. */
  private slot(): number {
    const now = this.now();
    for (let passed = Math.min(WINDOW_S, now - this.second); passed > 0; passed -= 1) {
      const forgotten = (now - passed + 1) % WINDOW_S;
      this.callsInWindow -= this.calls[forgotten] ?? 0;
      this.retriesInWindow -= this.retries[forgotten] ?? 0;
      this.calls[forgotten] = 0;
      this.retries[forgotten] = 0;
    }
    this.second = now;
    return now % WINDOW_S;
  }
}
