import { Inject, Injectable, Logger } from '@nestjs/common';
import { setTimeout as pause } from 'node:timers/promises';
import { CLOCK, type Clock } from '../kernel/clock';
import { messageOf } from '../kernel/error-message';

/** Endings that could not be told wait this long for one another, so that one raise does for all. */
export const RAISE_TOGETHER_MS = 1_000;

/**
 * What this process owes the current Redis server: endings that it told an older one, or nobody because Postgres decided,
 * after the raise by which the current one took over. That one may have been rebuilt before they were committed and counts
 * them as open. One more raise, once a change of the decider, lets every tenant be rebuilt from the ledger.
 */
@Injectable()
export class EndingDebt {
  private readonly logger = new Logger(EndingDebt.name);
  /** When an ending was last taken by whoever was known to decide. */
  private lastTakenMs: number | undefined;
  /** The epoch beyond which we must raise. */
  private owed: bigint | undefined;
  private paying: Promise<void> | undefined;

  constructor(@Inject(CLOCK) private readonly clock: Clock) {}

  get isOwing(): boolean {
    return this.owed !== undefined;
  }

  /** Whether an ending was ever told that a change of the decider might concern. */
  get hasTold(): boolean {
    return this.lastTakenMs !== undefined;
  }

  taken(): void {
    this.lastTakenMs = this.clock.monotonicMs();
  }

  /** Whoever took the endings does no longer decide; those count that were taken at or after `sinceMs`. */
  leave(epoch: bigint, sinceMs: number): void {
    if (this.lastTakenMs !== undefined && this.lastTakenMs >= sinceMs) this.owed = epoch;
    this.lastTakenMs = undefined;
  }

  /** Nothing is projected in the epoch that begins, and what begins after it is rebuilt. */
  forgive(): void {
    this.owed = undefined;
  }

  /** Tries until `raise` has stood for what is owed, or `signal` aborts. Never rejects. */
  payForward(raise: (beyond: bigint) => Promise<void>, signal: AbortSignal): void {
    if (this.owed === undefined) return;
    this.paying ??= this.payUntilPaid(raise, signal).finally(() => (this.paying = undefined));
  }

  /** Once more, after whatever is under way. Never rejects. */
  async payNow(raise: (beyond: bigint) => Promise<void>): Promise<void> {
    await this.paying;
    await this.payOnce(raise);
  }

  private async payUntilPaid(raise: (beyond: bigint) => Promise<void>, signal: AbortSignal): Promise<void> {
    while (this.owed !== undefined) {
      await pause(RAISE_TOGETHER_MS, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      await this.payOnce(raise);
    }
  }

  /** A raise by anybody else since does as well: everything owed was committed before it. */
  private async payOnce(raise: (beyond: bigint) => Promise<void>): Promise<void> {
    const { owed } = this;
    if (owed === undefined) return;
    try {
      await raise(owed);
      if (this.owed === owed) this.owed = undefined;
    } catch (error) {
      this.logger.warn(`the current Redis server lacks endings, and the epoch was not raised: ${messageOf(error)}`);
    }
  }
}
