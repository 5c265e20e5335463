import { Inject, Injectable } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { CLOCK, type Clock } from '../kernel/clock';
import type { EndedHold, HoldRequest } from './quota-store.port';
import type { CountedScope, ScopeSpec } from './scopes/scope';

const SECONDS = 60;
/** Beyond these the ones not used for longest begin anew: limits that fail open may forget, memory may not grow. */
const MAX_COUNTERS = 10_000;
const MAX_HOLDS = 50_000;

/** The last 60 seconds: what second s (s mod 60) has, up to the newest one that was written. */
interface Rate {
  readonly counts: Float64Array;
  newest: number;
}

interface Taken {
  readonly key: string;
  readonly spec: ScopeSpec;
  readonly second: number;
  readonly count: number;
}

/**
 * RPM and TPM while there is no Redis to share them: what this process has admitted itself, from which Postgres decides
 * together with everything else. It fails open: nothing is known of other processes, nor of what was counted before.
 */
@Injectable()
export class RatesInProcess {
  private readonly rates = new LRUCache<string, Rate>({ max: MAX_COUNTERS });
  private readonly holds = new LRUCache<string, readonly Taken[]>({ max: MAX_HOLDS });

  constructor(@Inject(CLOCK) private readonly clock: Clock) {}

  /** What the last 60 seconds have. */
  used(tenantId: string, counter: string): number {
    return sumOf(this.rateOf(keyOf(tenantId, counter), this.second()));
  }

  /** When so much has left that the call fits, milliseconds since the Unix epoch; '' where it never does. */
  fitsAtMs(request: HoldRequest, spec: ScopeSpec): string {
    const rate = this.rateOf(keyOf(request.limits.tenantId, spec.counter), this.second());
    const [count, limit] = [countOf(request, spec), Number(spec.limit)];
    if (count > limit) return '';
    let sum = sumOf(rate);
    for (let s = rate.newest - SECONDS + 1; s <= rate.newest; s += 1) {
      sum -= rate.counts[((s % SECONDS) + SECONDS) % SECONDS] ?? 0;
      if (sum + count <= limit) return ((s + SECONDS) * 1000).toString();
    }
    return '';
  }

  /** What `take` would answer; counts nothing. */
  quote(request: HoldRequest, plan: readonly ScopeSpec[]): readonly CountedScope[] {
    return this.wanted(request, plan).map((taken) => this.counted(taken, taken.count));
  }

  /** Counts an admitted call in all its rolling scopes, and answers what each has now. Twice counts once. */
  take(request: HoldRequest, plan: readonly ScopeSpec[]): readonly CountedScope[] {
    let takens = this.holds.get(request.holdId);
    if (!takens) {
      takens = this.wanted(request, plan);
      for (const taken of takens) this.add(taken, taken.count);
      if (takens.length > 0) this.holds.set(request.holdId, takens);
    }
    return takens.map((taken) => this.counted(taken, 0));
  }

  /** The call has not been made after all. */
  giveBack(holdIds: readonly string[]): void {
    for (const holdId of holdIds) {
      for (const taken of this.holds.get(holdId) ?? []) this.add(taken, -taken.count);
      this.holds.delete(holdId);
    }
  }

  /** Corrects tokens to what the call had. */
  settle(ended: readonly EndedHold[]): void {
    for (const { holdId, tokens } of ended) {
      for (const taken of this.holds.get(holdId) ?? []) {
        if (taken.spec.measure === 'tokens') this.add(taken, tokens - taken.count);
      }
      this.holds.delete(holdId);
    }
  }

  /** @param more what is not counted yet */
  private counted({ spec, key, second }: Taken, more: number): CountedScope {
    const { counter, measure } = spec;
    const used = BigInt(sumOf(this.rateOf(key, second)) + more);
    return { counter, measure, isRolling: true, startMs: second * 1000, endMs: 0, used };
  }

  private wanted(request: HoldRequest, plan: readonly ScopeSpec[]): readonly Taken[] {
    const second = this.second();
    return plan
      .filter(({ window }) => window.kind === 'rolling')
      .map((spec) => ({
        key: keyOf(request.limits.tenantId, spec.counter),
        spec,
        second,
        count: countOf(request, spec),
      }));
  }

  private second(): number {
    return Math.floor(this.clock.nowMs() / 1000);
  }

  /**
   * As it is in this second: what has left the sixty is gone. Where the clock was set back it goes on in the newest second,
   * by as much as the sixty it begins anew: nothing would leave it until then.
   */
  private rateOf(key: string, second: number): Rate {
    let rate = this.rates.get(key);
    if (!rate) {
      rate = { counts: new Float64Array(SECONDS), newest: second };
      this.rates.set(key, rate);
    }
    if (Math.abs(second - rate.newest) >= SECONDS) {
      rate.counts.fill(0);
      rate.newest = second;
    }
    for (let s = rate.newest + 1; s <= second; s += 1) rate.counts[s % SECONDS] = 0;
    rate.newest = Math.max(rate.newest, second);
    return rate;
  }

  private add({ key, second }: Taken, count: number): void {
    const rate = this.rateOf(key, this.second());
    // A second that has left the sixty, or that the clock was set back from, has nothing to be corrected.
    if (second > rate.newest || rate.newest - second >= SECONDS) return;
    rate.counts[second % SECONDS] = (rate.counts[second % SECONDS] ?? 0) + count;
  }
}

function sumOf({ counts }: Rate): number {
  return counts.reduce((sum, count) => sum + count, 0);
}

function keyOf(tenantId: string, counter: string): string {
  return `${tenantId} ${counter}`;
}

function countOf({ tokens }: HoldRequest, { measure }: ScopeSpec): number {
  return measure === 'tokens' ? tokens : 1;
}
