import type { CallerLimits, Service, SubscriptionLimits, UsdLimits, UserLimits } from './caller-limits';
import type { Measure, Scope, ScopeSpec, ScopeWindow } from './scope';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const ROLLING: ScopeWindow = { kind: 'rolling' };

/** What of a call decides which limits it meets. */
export interface CallKind {
  readonly service: Service;
  /** Kind of the provider that serves the call, such as `openai`. */
  readonly platform: string;
  /** Zone of the calendar windows that belong to no tenant (DEFAULT_TIMEZONE). */
  readonly globalZone: string;
}

/**
 * The scopes of one call in the order they are checked (money.md, Scopes). A limit that is not set counts nothing, so a
 * limit counts from when it is first set; only the tenant's request quotas look back to the start of their window.
 */
export function scopesOf(limits: CallerLimits, call: CallKind): readonly ScopeSpec[] {
  return [...tenantScopes(limits), ...keyScopes(limits), ...fundingScopes(limits, call), ...rateScopes(limits)];
}

function tenantScopes(limits: CallerLimits): ScopeSpec[] {
  const { timezone: zone } = limits;
  return [
    ...spec('tenant_day', 'day', 'requests', limits.dailyQuota, { kind: 'calendar', unit: 'day', zone }),
    ...spec('tenant_month', 'month', 'requests', limits.monthlyQuota, { kind: 'calendar', unit: 'month', zone }),
    ...spec('tenant_rpm', 'rpm', 'requests', limits.rpm, ROLLING),
    ...spec('tenant_tpm', 'tpm', 'tokens', limits.tpm, ROLLING),
    ...spec('tenant_concurrency', 'open', 'requests', limits.concurrency, { kind: 'open' }),
  ];
}

function keyScopes({ key }: CallerLimits): ScopeSpec[] {
  if (!key) return [];
  const of = (name: string): string => `key:${key.apiKeyId}:${name}`;
  return [
    ...spec('key_budget', of('budget'), 'usd', key.budget, { kind: 'lifetime' }),
    ...spec('key_5h', of('5h'), 'usd', key.usd5h, { kind: 'first_use', durationMs: 5 * HOUR_MS }),
    ...spec('key_1d', of('1d'), 'usd', key.usd1d, { kind: 'first_use', durationMs: DAY_MS }),
    ...spec('key_7d', of('7d'), 'usd', key.usd7d, { kind: 'first_use', durationMs: 7 * DAY_MS }),
  ];
}

/** By subscription alone, or by the tenant's own money with its free allowance and the user's quotas. */
function fundingScopes(limits: CallerLimits, call: CallKind): ScopeSpec[] {
  const { subscription, user, timezone: zone } = limits;
  if (subscription === 'none') return [];
  if (subscription) return subscriptionScopes(subscription, zone);
  const free = limits.allowances.get(call.service) ?? null;
  const month: ScopeWindow = { kind: 'calendar', unit: 'month', zone };
  return [
    ...(user ? platformScopes(user, call) : []),
    ...spec('allowance', `free:${call.service}`, 'requests', free === 0 ? null : free, month),
  ];
}

function subscriptionScopes(subscription: SubscriptionLimits, zone: string): ScopeSpec[] {
  const of = (name: string): string => `sub:${subscription.subscriptionId}:${name}`;
  return [
    ...spec('subscription_day', of('day'), 'usd', subscription.day, { kind: 'calendar', unit: 'day', zone }),
    ...spec('subscription_week', of('week'), 'usd', subscription.week, { kind: 'calendar', unit: 'week', zone }),
    ...spec('subscription_month', of('month'), 'usd', subscription.month, { kind: 'calendar', unit: 'month', zone }),
  ];
}

function platformScopes(user: UserLimits, { platform, globalZone: zone }: CallKind): ScopeSpec[] {
  const quota: UsdLimits | undefined = user.platforms.get(platform);
  if (!quota) return [];
  const of = (name: string): string => `user:${user.userId}:${platform}:${name}`;
  const thirtyDays: ScopeWindow = { kind: 'first_use', durationMs: 30 * DAY_MS };
  return [
    ...spec('user_platform_day', of('day'), 'usd', quota.day, { kind: 'calendar', unit: 'day', zone }),
    ...spec('user_platform_week', of('week'), 'usd', quota.week, { kind: 'calendar', unit: 'week', zone }),
    ...spec('user_platform_month', of('30d'), 'usd', quota.month, thirtyDays),
  ];
}

/** Requests in 60 seconds of one user in a group (of one key, where it has no user), and of the user everywhere. */
function rateScopes({ group, user, key }: CallerLimits): ScopeSpec[] {
  const who = user?.userId ?? key?.apiKeyId ?? '';
  return [
    ...(group ? spec('group_rpm', `group:${group.groupId}:${who}`, 'requests', group.rpm, ROLLING) : []),
    ...(user ? spec('user_rpm', `user:${user.userId}:rpm`, 'requests', user.rpm, ROLLING) : []),
  ];
}

function spec(
  scope: Scope,
  counter: string,
  measure: Measure,
  limit: bigint | number | null,
  window: ScopeWindow,
): ScopeSpec[] {
  return limit === null ? [] : [{ scope, counter, measure, limit: BigInt(limit), window }];
}
