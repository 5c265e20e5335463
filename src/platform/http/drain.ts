import { Injectable } from '@nestjs/common';

export interface DrainTiming {
  /** From failing readiness to refusing new requests: load balancers look away in this time. */
  readonly graceMs: number;
  /** How long running requests may still take. */
  readonly deadlineMs: number;
  /** How long cut streams may take to be settled. */
  readonly settleMs: number;
}

/**
 * The way out of service, so that nothing is lost on it.
 *
 *   serving ── begin ──► draining (not ready, still answers) ── graceMs ──► refusing (503)
 *           ── none in flight, or deadlineMs ──► cut (streams end and settle by what was delivered) ── settleMs ──► done
 *   any     ── cutNow ──► cut: the rest of the way takes no time but to settle
 */
@Injectable()
export class Drain {
  private stage: 'serving' | 'draining' | 'refusing' = 'serving';
  private count = 0;
  private isPastDeadline = false;
  private readonly deadlineListeners = new Set<() => void>();
  private wakeWaiter: (() => void) | undefined;

  /** Whether this process is on its way out: it is not ready. */
  get isDraining(): boolean {
    return this.stage !== 'serving' || this.isPastDeadline;
  }

  /** Whether a new request is answered with SHUTTING_DOWN. */
  get refusesNew(): boolean {
    return this.stage === 'refusing' || this.isPastDeadline;
  }

  get inFlight(): number {
    return this.count;
  }

  /** Counts a request in; what it returns counts it out, once, however often it is called. */
  enter(): () => void {
    this.count += 1;
    let hasLeft = false;
    return () => {
      if (hasLeft) return;
      hasLeft = true;
      this.count -= 1;
      if (this.count === 0) this.wakeWaiter?.();
    };
  }

  /**
   * `cut` is called when running requests have had their time: at once where they have already. Returns what takes the
   * listener back.
   */
  onDeadline(cut: () => void): () => void {
    if (this.isPastDeadline) {
      cut();
      return () => undefined;
    }
    this.deadlineListeners.add(cut);
    return () => void this.deadlineListeners.delete(cut);
  }

  /** Refuses what is new and cuts what runs without its time: nothing of this process counts any more. */
  cutNow(): void {
    if (this.isPastDeadline) return;
    this.isPastDeadline = true;
    for (const cut of [...this.deadlineListeners]) cut();
  }

  /** Goes the whole way; resolves with the number of requests that were still running at its end. Called once. */
  async run({ graceMs, deadlineMs, settleMs }: DrainTiming): Promise<number> {
    if (this.stage !== 'serving') throw new Error('the drain runs already');
    this.stage = 'draining';
    if (graceMs > 0 && !this.isPastDeadline) await this.waitFor(graceMs);
    this.stage = 'refusing';
    if (this.count > 0 && !this.isPastDeadline) await this.untilIdle(deadlineMs);
    this.cutNow();
    if (this.count > 0) await this.untilIdle(settleMs);
    return this.count;
  }

  private async untilIdle(atMostMs: number): Promise<void> {
    await Promise.race([
      this.waitFor(atMostMs),
      new Promise<void>((resolve) => {
        this.wakeWaiter = resolve;
      }),
    ]);
    this.wakeWaiter = undefined;
  }

  private waitFor(durationMs: number): Promise<void> {
    return new Promise((resolve) => {
      setTimeout(resolve, durationMs).unref();
    });
  }
}
