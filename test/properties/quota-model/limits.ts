/** Who calls, and within which limits: money.md's table of scopes, written down once more. Null is unlimited. */
export interface Caller {
  readonly zone: string;
  readonly creditLimit: bigint;
  readonly dayRequests: number | null;
  readonly monthRequests: number | null;
  readonly rpm: number | null;
  readonly tpm: number | null;
  readonly concurrency: number | null;
  readonly freeCalls: number | null;
  readonly key: { readonly id: string } & Record<'budget' | 'usd5h' | 'usd1d' | 'usd7d', bigint | null>;
  readonly user: ({ readonly id: string; readonly rpm: number | null } & UsdPeriods) | null;
  readonly group: { readonly id: string; readonly rpm: number | null } | null;
  /** 'none' where the key is in a subscription group that has none. */
  readonly subscription: ({ readonly id: string; readonly endsAtMs: number } & UsdPeriods) | 'none' | null;
}

export type UsdPeriods = Readonly<Record<'day' | 'week' | 'month', bigint | null>>;

export type Window =
  | { readonly kind: 'calendar'; readonly unit: 'day' | 'week' | 'month'; readonly zone: string }
  | { readonly kind: 'first_use'; readonly durationMs: number }
  | { readonly kind: 'lifetime' }
  | { readonly kind: 'rolling' }
  | { readonly kind: 'open' };

export interface Limit {
  /** Of the refusal; the free allowance has none. */
  readonly code: string | undefined;
  readonly counter: string;
  readonly measure: 'requests' | 'usd' | 'tokens';
  readonly limit: bigint;
  readonly window: Window;
}

/** What user × platform quotas of the model are for. */
export const PLATFORM = 'openai';
/** Zone of the windows that belong to no tenant; what the test's settings say. */
export const GLOBAL_ZONE = 'UTC';

const HOUR_MS = 3_600_000;
const ROLLING: Window = { kind: 'rolling' };

/** In the order in which they are checked, after the balance. */
export function limitsOf(caller: Caller): readonly Limit[] {
  const { zone, key, user, group } = caller;
  const calendar = (unit: 'day' | 'week' | 'month', of = zone): Window => ({ kind: 'calendar', unit, zone: of });
  const firstUse = (hours: number): Window => ({ kind: 'first_use', durationMs: hours * HOUR_MS });
  return [
    ...requests('QUOTA_DAILY_EXCEEDED', 'day', caller.dayRequests, calendar('day')),
    ...requests('QUOTA_MONTHLY_EXCEEDED', 'month', caller.monthRequests, calendar('month')),
    ...requests('TENANT_RPM_EXCEEDED', 'rpm', caller.rpm, ROLLING),
    ...limit('TENANT_TPM_EXCEEDED', 'tpm', 'tokens', caller.tpm, ROLLING),
    ...requests('CONCURRENCY_EXCEEDED', 'open', caller.concurrency, { kind: 'open' }),
    ...usd('QUOTA_BUDGET_EXCEEDED', `key:${key.id}:budget`, key.budget, { kind: 'lifetime' }),
    ...usd('API_KEY_RATE_LIMIT_5H_EXCEEDED', `key:${key.id}:5h`, key.usd5h, firstUse(5)),
    ...usd('API_KEY_RATE_LIMIT_1D_EXCEEDED', `key:${key.id}:1d`, key.usd1d, firstUse(24)),
    ...usd('API_KEY_RATE_LIMIT_7D_EXCEEDED', `key:${key.id}:7d`, key.usd7d, firstUse(7 * 24)),
    ...fundingLimits(caller, calendar, firstUse),
    ...(group ? requests('GROUP_RPM_EXCEEDED', `group:${group.id}:${user?.id ?? key.id}`, group.rpm, ROLLING) : []),
    ...(user ? requests('USER_RPM_EXCEEDED', `user:${user.id}:rpm`, user.rpm, ROLLING) : []),
  ];
}

function fundingLimits(
  { subscription, user, freeCalls }: Caller,
  calendar: (unit: 'day' | 'week' | 'month', of?: string) => Window,
  firstUse: (hours: number) => Window,
): readonly Limit[] {
  if (subscription === 'none') return [];
  if (subscription) {
    const of = (period: string): string => `sub:${subscription.id}:${period}`;
    return [
      ...usd('DAILY_LIMIT_EXCEEDED', of('day'), subscription.day, calendar('day')),
      ...usd('WEEKLY_LIMIT_EXCEEDED', of('week'), subscription.week, calendar('week')),
      ...usd('MONTHLY_LIMIT_EXCEEDED', of('month'), subscription.month, calendar('month')),
    ];
  }
  const of = (period: string): string => `user:${user?.id ?? ''}:${PLATFORM}:${period}`;
  return [
    ...usd('USER_PLATFORM_DAILY_QUOTA_EXHAUSTED', of('day'), user?.day ?? null, calendar('day', GLOBAL_ZONE)),
    ...usd('USER_PLATFORM_WEEKLY_QUOTA_EXHAUSTED', of('week'), user?.week ?? null, calendar('week', GLOBAL_ZONE)),
    ...usd('USER_PLATFORM_MONTHLY_QUOTA_EXHAUSTED', of('30d'), user?.month ?? null, firstUse(30 * 24)),
    ...requests(undefined, 'free:chat', freeCalls, calendar('month')),
  ];
}

function requests(code: string | undefined, counter: string, most: number | null, window: Window): Limit[] {
  return limit(code, counter, 'requests', most, window);
}

function usd(code: string, counter: string, most: bigint | null, window: Window): Limit[] {
  return limit(code, counter, 'usd', most, window);
}

function limit(
  code: string | undefined,
  counter: string,
  measure: Limit['measure'],
  most: bigint | number | null,
  window: Window,
): Limit[] {
  return most === null ? [] : [{ code, counter, measure, limit: BigInt(most), window }];
}

/** Every code with which a limit, the balance or the lack of a subscription refuses. */
export const REFUSAL_CODES = [
  'SUBSCRIPTION_INVALID',
  'QUOTA_BALANCE_EXCEEDED',
  'QUOTA_DAILY_EXCEEDED',
  'QUOTA_MONTHLY_EXCEEDED',
  'TENANT_RPM_EXCEEDED',
  'TENANT_TPM_EXCEEDED',
  'CONCURRENCY_EXCEEDED',
  'QUOTA_BUDGET_EXCEEDED',
  'API_KEY_RATE_LIMIT_5H_EXCEEDED',
  'API_KEY_RATE_LIMIT_1D_EXCEEDED',
  'API_KEY_RATE_LIMIT_7D_EXCEEDED',
  'USER_PLATFORM_DAILY_QUOTA_EXHAUSTED',
  'USER_PLATFORM_WEEKLY_QUOTA_EXHAUSTED',
  'USER_PLATFORM_MONTHLY_QUOTA_EXHAUSTED',
  'DAILY_LIMIT_EXCEEDED',
  'WEEKLY_LIMIT_EXCEEDED',
  'MONTHLY_LIMIT_EXCEEDED',
  'GROUP_RPM_EXCEEDED',
  'USER_RPM_EXCEEDED',
] as const;
