import { windowAround } from './calendar';
import type { Counter, Frozen, Funding } from './ledger-side';
import { type Caller, type Limit, limitsOf } from './limits';
import { type ProjectionSide, type Rolled, sumOf } from './projection-side';

export interface Ask {
  readonly caller: Caller;
  readonly amount: bigint;
  readonly tokens: number;
}

/** A window the hold would count in. Whose start is only known once it was admitted, it opens: by the clock of who admits. */
export interface Use extends Frozen {
  readonly opens: boolean;
  /** With this hold. */
  readonly used: bigint;
}

/** A second the hold would count in. */
export interface Roll extends Rolled {
  readonly used: bigint;
}

export interface Admission {
  readonly admitted: true;
  readonly funding: Funding;
  readonly uses: readonly Use[];
  readonly rolled: readonly Roll[];
  readonly available: bigint;
}

export interface Refused {
  readonly admitted: false;
  readonly code: string;
  /** Of a limit. */
  readonly limit?: bigint;
  readonly used?: bigint;
  readonly resetsAtMs?: number;
  /** Of the balance. */
  readonly available?: bigint;
}

export type Answer = Admission | Refused;

interface Draft {
  readonly side: ProjectionSide;
  readonly nowMs: number;
  readonly ask: Ask;
  funding: Funding;
  refusal: Refused | undefined;
  readonly uses: Use[];
  readonly rolled: Roll[];
}

/**
 * What a reservation answers now: the lack of a subscription first, then the balance, then the limits in their order; who
 * pays is found out on the way. `hasRates` is false where nobody keeps rolling counters.
 */
export function decide(side: ProjectionSide, ask: Ask, nowMs: number, hasRates: boolean): Answer {
  const { caller, amount } = ask;
  const { subscription, creditLimit } = caller;
  if (subscription === 'none' || (subscription && nowMs >= subscription.endsAtMs)) {
    return { admitted: false, code: 'SUBSCRIPTION_INVALID' };
  }
  const funding = subscription ? 'subscription' : 'wallet';
  const draft: Draft = { side, nowMs, ask, funding, refusal: undefined, uses: [], rolled: [] };
  for (const limit of limitsOf(caller)) {
    if (limit.window.kind === 'rolling') {
      if (hasRates) roll(draft, limit);
    } else if (limit.window.kind === 'open') countOpen(draft, limit);
    else count(draft, limit);
  }
  const available = side.posted + creditLimit - side.held;
  if (draft.funding === 'wallet' && amount > 0n && amount > available) {
    return { admitted: false, code: 'QUOTA_BALANCE_EXCEEDED', available };
  }
  return draft.refusal ?? { admitted: true, funding: draft.funding, uses: draft.uses, rolled: draft.rolled, available };
}

function count(draft: Draft, { code, counter, measure, limit, window }: Limit): void {
  const newest = draft.side.counter(counter);
  const { startMs, endMs, opens } = windowNow(window, newest, draft.nowMs);
  const used = startMs === newest.startMs && !opens ? newest.used : 0n;
  const need = measure === 'requests' ? 1n : draft.ask.amount;
  if (used + need <= limit) {
    if (code === undefined) draft.funding = 'allowance';
    draft.uses.push({
      counter,
      measure: measure === 'requests' ? 'requests' : 'usd',
      startMs,
      endMs,
      opens,
      used: used + need,
    });
  } else if (code !== undefined) {
    draft.refusal ??= {
      admitted: false,
      code,
      limit,
      used,
      ...(endMs > 0 && need <= limit ? { resetsAtMs: endMs } : {}),
    };
  }
}

function windowNow(
  window: Limit['window'],
  newest: Counter,
  nowMs: number,
): { startMs: number; endMs: number; opens: boolean } {
  switch (window.kind) {
    case 'calendar': {
      // The newest window goes on where the clock went back, or the zone changed.
      const found = windowAround(nowMs, window.zone, window.unit);
      return { ...(newest.startMs > found.startMs ? newest : found), opens: false };
    }
    case 'first_use': {
      const goesOn = nowMs < newest.endMs && (newest.used > 0n || nowMs < newest.startMs);
      if (goesOn) return { ...newest, opens: false };
      return { startMs: nowMs, endMs: nowMs + window.durationMs, opens: true };
    }
    case 'lifetime':
    case 'rolling':
    case 'open':
      return { startMs: 0, endMs: 0, opens: false };
  }
}

function countOpen(draft: Draft, { code = '', limit }: Limit): void {
  const open = BigInt(draft.side.holds.size);
  if (open + 1n > limit) draft.refusal ??= { admitted: false, code, limit, used: open };
}

function roll(draft: Draft, { code = '', counter, measure, limit }: Limit): void {
  const need = measure === 'tokens' ? BigInt(draft.ask.tokens) : 1n;
  const rate = draft.side.rate(counter, Math.floor(draft.nowMs / 1000));
  const used = sumOf(rate);
  if (used + need <= limit) {
    draft.rolled.push({
      counter,
      measure: measure === 'tokens' ? 'tokens' : 'requests',
      second: rate.at,
      used: used + need,
    });
    return;
  }
  const resetsAtMs = fitsAt(rate, need, limit, used);
  draft.refusal ??= { admitted: false, code, limit, used, ...(resetsAtMs === undefined ? {} : { resetsAtMs }) };
}

/** When enough seconds have left the sixty. */
function fitsAt(
  rate: { readonly counts: Map<number, bigint> },
  need: bigint,
  limit: bigint,
  used: bigint,
): number | undefined {
  if (need > limit) return undefined;
  let left = used;
  for (const [second, counted] of [...rate.counts].sort(([a], [b]) => a - b)) {
    left -= counted;
    if (left + need <= limit) return (second + 60) * 1000;
  }
  return undefined;
}
