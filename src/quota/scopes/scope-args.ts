import type { TenantWindows } from '../tenant-windows';
import type { ScopeSpec } from './scope';

/** How a scope is named to quota_deduct.lua and quota_reserve: one letter a kind and a measure. */
const MEASURE_LETTERS = { requests: 'r', usd: 'u', tokens: 't' } as const;

/** As both stores take a scope: kind, counter, measure, limit and three bounds ('' where the kind has fewer). */
export type ScopeArgs = readonly [
  kind: 'c' | 'a' | 'f' | 'l' | 'r' | 'o',
  counter: string,
  measure: 'r' | 'u' | 't',
  limit: string,
  a: string,
  b: string,
  c: string,
];

/** @param nowMs the instant whose calendar windows, and the ones after them, are sent; the store picks by its own clock */
export function scopeArgs(spec: ScopeSpec, windows: TenantWindows, nowMs: number): ScopeArgs {
  const { counter, window } = spec;
  const measure = MEASURE_LETTERS[spec.measure];
  const limit = spec.limit.toString();
  switch (window.kind) {
    case 'calendar': {
      const kind = spec.scope === 'allowance' ? 'a' : 'c';
      return [kind, counter, measure, limit, ...windows.around(nowMs, window.zone, window.unit).argv];
    }
    case 'first_use':
      return ['f', counter, measure, limit, window.durationMs.toString(), '', ''];
    case 'lifetime':
      return ['l', counter, measure, limit, '', '', ''];
    case 'rolling':
      return ['r', counter, measure, limit, '', '', ''];
    case 'open':
      return ['o', counter, measure, limit, '', '', ''];
  }
}
