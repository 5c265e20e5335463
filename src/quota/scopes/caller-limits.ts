import { type NanoUsd } from '../../kernel/money';

/** Which service an allowance is for: the kind of call, whatever its dialect. */
export const SERVICES = ['chat', 'embeddings'] as const;
export type Service = (typeof SERVICES)[number];

/** USD a calendar day, ISO week and month (or 30 days, see scope-plan.ts); null is unlimited. */
export interface UsdLimits {
  readonly day: NanoUsd | null;
  readonly week: NanoUsd | null;
  readonly month: NanoUsd | null;
}

export interface KeyLimits {
  readonly apiKeyId: string;
  /** USD over the key's whole life. */
  readonly budget: NanoUsd | null;
  /** USD in 5 hours, 1 day and 7 days, each from the window's first admitted use. */
  readonly usd5h: NanoUsd | null;
  readonly usd1d: NanoUsd | null;
  readonly usd7d: NanoUsd | null;
}

export interface UserLimits {
  readonly userId: string;
  /** Requests in 60 seconds, whatever group and override say. */
  readonly rpm: number | null;
  /** By platform, which is the kind of the provider that serves the call. */
  readonly platforms: ReadonlyMap<string, UsdLimits>;
}

export interface GroupLimits {
  readonly groupId: string;
  /** Requests in 60 seconds of one user in this group: the user's override, else the group's; null is exempt. */
  readonly rpm: number | null;
}

/** Who pays where it is not the tenant's own money: the key is in a subscription group. */
export interface SubscriptionLimits extends UsdLimits {
  readonly subscriptionId: string;
  /** It was cancelled, paused or has not begun: nothing is admitted. */
  readonly isActive: boolean;
  readonly startsAtMs: number;
  /** Exclusive; infinity where it does not end. */
  readonly endsAtMs: number;
}

/**
 * Everything a reservation is checked against, from the caller's cached key, and frozen into the hold. Request limits
 * are counts, money is nano-USD, null is unlimited everywhere.
 */
export interface CallerLimits {
  readonly tenantId: string;
  /** IANA zone whose calendar the tenant's windows follow. */
  readonly timezone: string;
  readonly creditLimit: NanoUsd;
  /** Requests a calendar day / month in the tenant's zone. */
  readonly dailyQuota: number | null;
  readonly monthlyQuota: number | null;
  /** Requests and tokens in 60 seconds, and holds open at once, of the whole tenant. */
  readonly rpm: number | null;
  readonly tpm: number | null;
  readonly concurrency: number | null;
  /** Calls a calendar month that are free, by service. */
  readonly allowances: ReadonlyMap<Service, number>;
  readonly key: KeyLimits | null;
  readonly user: UserLimits | null;
  readonly group: GroupLimits | null;
  /** 'none' where the key is in a subscription group and there is no subscription: nothing is admitted. */
  readonly subscription: SubscriptionLimits | 'none' | null;
}

/** No limit but the balance; spread over a tenant's identity. */
export const NO_LIMITS = {
  dailyQuota: null,
  monthlyQuota: null,
  rpm: null,
  tpm: null,
  concurrency: null,
  allowances: new Map(),
  key: null,
  user: null,
  group: null,
  subscription: null,
} as const satisfies Omit<CallerLimits, 'tenantId' | 'timezone' | 'creditLimit'>;
