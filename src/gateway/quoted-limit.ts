import type { Refusal } from '../kernel/errors';
import { nanoUsdFromDecimal } from '../kernel/money';
import type { AdmittedHold, HoldRequest } from '../quota/quota-store.port';
import type { CountedScope, Measure, ScopeSpec } from '../quota/scopes/scope';
import { remainingOf, resetsAtMsOf } from './rate-limit-headers';

/** A limit as a quote names it: without the quoted call. Requests and tokens are counts, money is nano-USD. */
export interface QuotedLimit {
  /** `balance`, or a scope of the reservation. */
  readonly scope: string;
  readonly measure: Measure;
  /** Null for the balance, of which only what is left is known. */
  readonly limit: bigint | null;
  readonly used: bigint | null;
  readonly remaining: bigint;
  readonly resetsAtMs: number | undefined;
}

/** What a reservation found in each window, without the hold that was asked for. */
export function countedBefore(hold: AdmittedHold, request: HoldRequest): readonly CountedScope[] {
  return hold.counted.map((scope) => ({ ...scope, used: scope.used - needOf(scope.measure, request) }));
}

/**
 * Which limit would be the first to refuse, were the same call made again and again; undefined where none ever would. An
 * allowance is no such limit: what is beyond it is paid for.
 */
export function bindingLimit(
  hold: AdmittedHold,
  request: HoldRequest,
  limits: readonly ScopeSpec[],
): QuotedLimit | undefined {
  const found: QuotedLimit[] = [];
  if (hold.funding === 'wallet') found.push(balanceOf(hold.balanceBefore));
  for (const counted of countedBefore(hold, request)) {
    const spec = limits.find(({ counter }) => counter === counted.counter);
    if (spec && spec.scope !== 'allowance') found.push(limitOf(counted, spec));
  }
  let binding: QuotedLimit | undefined;
  for (const limit of found) if (isSoonerReached(limit, binding, request)) binding = limit;
  return binding;
}

/** The limit that refuses the call now; undefined where it is refused for something that is no limit. */
export function refusingLimit({ code, quota, values, windowResetsAt }: Refusal): QuotedLimit | undefined {
  if (quota) {
    const { limit, used } = quota;
    return { ...quota, remaining: remainingOf(limit, used), resetsAtMs: windowResetsAt?.getTime() };
  }
  const available = values?.available;
  if (code !== 'QUOTA_BALANCE_EXCEEDED' || typeof available !== 'string') return undefined;
  return balanceOf(nanoUsdFromDecimal(available));
}

function balanceOf(available: bigint): QuotedLimit {
  return { scope: 'balance', measure: 'usd', limit: null, used: null, remaining: available, resetsAtMs: undefined };
}

function limitOf(counted: CountedScope, { scope, measure, limit }: ScopeSpec): QuotedLimit {
  const { used } = counted;
  return { scope, measure, limit, used, remaining: remainingOf(limit, used), resetsAtMs: resetsAtMsOf(counted) };
}

/** By how many such calls are left, compared as exact fractions; one that takes nothing from a limit never reaches it. */
function isSoonerReached(limit: QuotedLimit, than: QuotedLimit | undefined, request: HoldRequest): boolean {
  const need = needOf(limit.measure, request);
  if (need === 0n) return false;
  if (!than) return true;
  return limit.remaining * needOf(than.measure, request) < than.remaining * need;
}

function needOf(measure: Measure, { amount, tokens }: HoldRequest): bigint {
  switch (measure) {
    case 'requests':
      return 1n;
    case 'usd':
      return amount;
    case 'tokens':
      return BigInt(tokens);
  }
}
