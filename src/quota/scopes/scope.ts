import type { ErrorCode } from '../../kernel/errors';

/** Every limit of a reservation but the balance, in the order they are checked (money.md, Scopes), with its refusal. */
export const SCOPE_CODES = {
  tenant_day: 'QUOTA_DAILY_EXCEEDED',
  tenant_month: 'QUOTA_MONTHLY_EXCEEDED',
  tenant_rpm: 'TENANT_RPM_EXCEEDED',
  tenant_tpm: 'TENANT_TPM_EXCEEDED',
  tenant_concurrency: 'CONCURRENCY_EXCEEDED',
  key_budget: 'QUOTA_BUDGET_EXCEEDED',
  key_5h: 'API_KEY_RATE_LIMIT_5H_EXCEEDED',
  key_1d: 'API_KEY_RATE_LIMIT_1D_EXCEEDED',
  key_7d: 'API_KEY_RATE_LIMIT_7D_EXCEEDED',
  user_platform_day: 'USER_PLATFORM_DAILY_QUOTA_EXHAUSTED',
  user_platform_week: 'USER_PLATFORM_WEEKLY_QUOTA_EXHAUSTED',
  user_platform_month: 'USER_PLATFORM_MONTHLY_QUOTA_EXHAUSTED',
  subscription_day: 'DAILY_LIMIT_EXCEEDED',
  subscription_week: 'WEEKLY_LIMIT_EXCEEDED',
  subscription_month: 'MONTHLY_LIMIT_EXCEEDED',
  group_rpm: 'GROUP_RPM_EXCEEDED',
  user_rpm: 'USER_RPM_EXCEEDED',
} as const satisfies Record<string, ErrorCode>;

/** `allowance` never refuses: a call beyond it is paid by the next funding. */
export type Scope = keyof typeof SCOPE_CODES | 'allowance';

/** What a scope adds up: calls, their cost in nano-USD, or their tokens. */
export type Measure = 'requests' | 'usd' | 'tokens';

/**
 * Over which time a scope adds up.
 * - calendar: day, ISO week or month of a zone, reset at its end;
 * - first_use: begins with the first admitted use, ends a fixed time later;
 * - lifetime: never reset;
 * - rolling: the last 60 seconds in one-second buckets; kept in Redis only;
 * - open: no time at all: the tenant's open holds now.
 */
export type ScopeWindow =
  | { readonly kind: 'calendar'; readonly unit: 'day' | 'week' | 'month'; readonly zone: string }
  | { readonly kind: 'first_use'; readonly durationMs: number }
  | { readonly kind: 'lifetime' }
  | { readonly kind: 'rolling' }
  | { readonly kind: 'open' };

/** One limit of a reservation. */
export interface ScopeSpec {
  readonly scope: Scope;
  /** Names the counter within its tenant; letters, digits, `:`, `-`, `_` and `.` only. */
  readonly counter: string;
  readonly measure: Measure;
  /** Requests, nano-USD or tokens: the use after this hold may not exceed it. */
  readonly limit: bigint;
  readonly window: ScopeWindow;
}

/** What a hold counts in one scope, frozen with it. */
export interface CountedScope {
  readonly counter: string;
  readonly measure: Measure;
  readonly isRolling: boolean;
  /** Start of the window, milliseconds since the Unix epoch; 0 for a lifetime. For a rolling one, its second × 1000. */
  readonly startMs: number;
  /** Exclusive; 0 for a lifetime and a rolling one. */
  readonly endMs: number;
  /** The use right after this hold was admitted, itself included. */
  readonly used: bigint;
}

/** Who pays a charge. `wallet` is the tenant's own money: promo first, then the wallet and its credit limit. */
export type Funding = 'wallet' | 'allowance' | 'subscription';
