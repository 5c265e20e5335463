import type { CountedScope } from './scope';

/** One window a charge counts in, as its row keeps it (billing_transaction.scopes); measure r: one request, u: its amount. */
export type FrozenScope = readonly [counter: string, measure: 'r' | 'u', startMs: number, endMs: number];

/** What of a hold outlives Redis; rolling counters do not. Null where nothing does. */
export function frozenScopes(counted: readonly CountedScope[]): readonly FrozenScope[] | null {
  const frozen = counted.flatMap(({ isRolling, counter, measure, startMs, endMs }): FrozenScope[] =>
    isRolling || measure === 'tokens' ? [] : [[counter, measure === 'usd' ? 'u' : 'r', startMs, endMs]],
  );
  return frozen.length === 0 ? null : frozen;
}

/** A frozen window as a hold's entry has it; its use right after admission is history. */
export function countedOf([counter, measure, startMs, endMs]: FrozenScope): CountedScope {
  return { counter, measure: measure === 'u' ? 'usd' : 'requests', isRolling: false, startMs, endMs, used: 0n };
}
