import type { Counter, Frozen, Funding } from './ledger-side';

/** A second in which a hold counts. */
export interface Rolled {
  readonly counter: string;
  readonly measure: 'requests' | 'tokens';
  readonly second: number;
}

export interface Hold {
  readonly processId: string;
  readonly funding: Funding;
  readonly frozen: readonly Frozen[];
  readonly rolled: readonly Rolled[];
  readonly tokens: number;
  amount: bigint;
}

/** Seconds up to `at`, which is the newest that was counted in. */
export interface Rate {
  at: number;
  readonly counts: Map<number, bigint>;
}

const SECONDS = 60;

/** What the deciding side must say: a projection of the ledger, and what only it knows, the rates. */
export class ProjectionSide {
  posted = 0n;
  version = 0n;
  readonly holds = new Map<string, Hold>();
  readonly counters = new Map<string, Counter>();
  readonly rates = new Map<string, Rate>();

  get held(): bigint {
    return [...this.holds.values()].reduce(
      (sum, { funding, amount }) => sum + (funding === 'wallet' ? amount : 0n),
      0n,
    );
  }

  copy(): ProjectionSide {
    const copy = new ProjectionSide();
    copy.posted = this.posted;
    copy.version = this.version;
    for (const [id, hold] of this.holds) copy.holds.set(id, hold);
    for (const [name, counter] of this.counters) copy.counters.set(name, { ...counter });
    for (const [name, { at, counts }] of this.rates) copy.rates.set(name, { at, counts: new Map(counts) });
    return copy;
  }

  counter(name: string): Counter {
    return this.counters.get(name) ?? { startMs: 0, endMs: 0, used: 0n };
  }

  /** What a rolling counter has in the 60 seconds up to `second`, or to the newest one, where the clock went back. */
  rate(counter: string, second: number): Rate {
    const known = this.rates.get(counter);
    if (!known || Math.abs(second - known.at) >= SECONDS) return { at: second, counts: new Map() };
    const at = Math.max(known.at, second);
    return { at, counts: new Map([...known.counts].filter(([counted]) => at - counted < SECONDS)) };
  }

  hold(id: string, hold: Hold): void {
    this.holds.set(id, hold);
    for (const { counter, measure, startMs, endMs } of hold.frozen) {
      const { used } = this.counterAt(counter, startMs);
      this.counters.set(counter, { startMs, endMs, used: used + (measure === 'requests' ? 1n : hold.amount) });
    }
    for (const { counter, measure, second } of hold.rolled) {
      const rate = this.rate(counter, second);
      add(rate, second, measure === 'requests' ? 1n : BigInt(hold.tokens));
      this.rates.set(counter, rate);
    }
  }

  /** What of an ending arrives here; an unknown hold changes nothing. */
  end(id: string, committed?: { readonly amount: bigint; readonly tokens: number }): void {
    const hold = this.holds.get(id);
    if (!hold) return;
    this.holds.delete(id);
    for (const { counter, measure, startMs } of hold.frozen) {
      if (measure === 'usd') this.add(counter, startMs, (committed?.amount ?? 0n) - hold.amount);
      else if (!committed) this.add(counter, startMs, -1n);
    }
    for (const { counter, measure, second } of hold.rolled) {
      const delta = measure === 'tokens' ? BigInt((committed?.tokens ?? 0) - hold.tokens) : committed ? 0n : -1n;
      const rate = this.rates.get(counter);
      if (rate && second <= rate.at && rate.at - second < SECONDS) add(rate, second, delta);
    }
  }

  /** Only in the windows that are still the newest. */
  extend(hold: Hold, amount: bigint): void {
    for (const { counter, measure, startMs } of hold.frozen) {
      if (measure === 'usd') this.add(counter, startMs, amount - hold.amount);
    }
    hold.amount = amount;
  }

  private counterAt(name: string, startMs: number): Counter {
    const known = this.counter(name);
    return known.startMs === startMs ? known : { startMs, endMs: 0, used: 0n };
  }

  private add(name: string, startMs: number, delta: bigint): void {
    const known = this.counters.get(name);
    if (known?.startMs === startMs) known.used += delta;
  }
}

function add({ counts }: Rate, second: number, count: bigint): void {
  counts.set(second, (counts.get(second) ?? 0n) + count);
}

export function sumOf({ counts }: Rate): bigint {
  return [...counts.values()].reduce((sum, count) => sum + count, 0n);
}
