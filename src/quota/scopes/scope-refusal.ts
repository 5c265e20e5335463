import { refuse, type Refusal } from '../../kernel/errors';
import { type NanoUsd, nanoUsd, nanoUsdFromDecimal, toDecimalUsd } from '../../kernel/money';
import type { CallerLimits } from './caller-limits';
import { type ScopeSpec, SCOPE_CODES } from './scope';

/** As a store answers it: whole numbers as text. */
export interface StoreRefusal {
  readonly limit: string;
  /** What is used, this hold not included; of the balance: what is available. */
  readonly used: string;
  /** When the scope takes the hold again, milliseconds since the Unix epoch; '' where time alone does not help. */
  readonly resetsMs: string;
}

/** Holds end when calls do, which is soon. */
const CONCURRENCY_RETRY_MS = 1_000;

/** @param needed the amount asked for, which may be more than any account holds */
export function balanceRefusal(needed: NanoUsd, { used }: StoreRefusal): Refusal {
  return refuse('QUOTA_BALANCE_EXCEEDED', {
    values: { needed: toDecimalUsd(needed), available: toDecimalUsd(nanoUsd(used)) },
  });
}

/** Names the scope that refused by its code, with its limit, use and reset. */
export function scopeRefusal(spec: ScopeSpec, { limit, used, resetsMs }: StoreRefusal): Refusal {
  const { scope, measure } = spec;
  if (scope === 'allowance') throw new Error('an allowance never refuses');
  const shown = (value: string): string => (measure === 'usd' ? toDecimalUsd(nanoUsd(value)) : value);
  return refuse(SCOPE_CODES[scope], {
    values: { limit: shown(limit), used: shown(used) },
    quota: { scope, measure, limit: BigInt(limit), used: BigInt(used) },
    ...(resetsMs === '' ? {} : { windowResetsAt: new Date(Number(resetsMs)) }),
    ...(scope === 'tenant_concurrency' ? { retryAfterMs: CONCURRENCY_RETRY_MS } : {}),
  });
}

/** How much the balance or the limit of money that refused would have taken; undefined where something else refused. */
export function roomOf({ code, values, quota }: Refusal): NanoUsd | undefined {
  if (quota !== undefined) return quota.measure === 'usd' ? nanoUsd(quota.limit - quota.used) : undefined;
  const available = code === 'QUOTA_BALANCE_EXCEEDED' ? values?.available : undefined;
  return typeof available === 'string' ? nanoUsdFromDecimal(available) : undefined;
}

/** A key in a subscription group pays by a subscription that counts now, or not at all. */
export function subscriptionRefusal({ subscription }: CallerLimits, nowMs: number): Refusal | undefined {
  if (subscription === null) return undefined;
  const counts =
    subscription !== 'none' &&
    subscription.isActive &&
    nowMs >= subscription.startsAtMs &&
    nowMs < subscription.endsAtMs;
  return counts ? undefined : refuse('SUBSCRIPTION_INVALID');
}
