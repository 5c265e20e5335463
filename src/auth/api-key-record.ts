import { type Refusal, refuse } from '../kernel/errors';
import { type NanoUsd, nanoUsd } from '../kernel/money';
import type {
  CallerLimits,
  GroupLimits,
  KeyLimits,
  Service,
  SubscriptionLimits,
  UsdLimits,
  UserLimits,
} from '../quota/scopes/caller-limits';
import type { ApiKeyRow } from './api-key-rows';
import { isService } from './free-allowances';
import type { Principal } from './principal';

/** What a known key means, worked out once when it is read; only times are left to each use. */
export interface ApiKeyRecord {
  readonly digest: Buffer;
  readonly principal: Principal;
  /** Set where the key is refused whatever the time. */
  readonly refusal: Refusal | undefined;
  readonly expiresAtMs: number;
  /** From then on another subscription may pay for the key, though nobody changed anything: it is read anew. */
  readonly staleAtMs: number;
}

export function recordOf(row: ApiKeyRow): ApiKeyRecord {
  return {
    digest: row.digest,
    principal: principalOf(row),
    refusal: standingRefusal(row),
    expiresAtMs: row.expires_at?.getTime() ?? Number.POSITIVE_INFINITY,
    staleAtMs: row.subscription_changes_at?.getTime() ?? Number.POSITIVE_INFINITY,
  };
}

function principalOf(row: ApiKeyRow): Principal {
  return {
    tenantId: row.tenant_id,
    apiKeyId: row.api_key_id,
    apiKeyName: row.api_key_name,
    allowedModels: row.allowed_models === null ? null : new Set(row.allowed_models),
    limits: limitsOf(row),
    unknownPricePolicy: row.unknown_price_policy,
    priceMultiplierMillionths: BigInt(row.price_multiplier_millionths),
  };
}

function standingRefusal(row: ApiKeyRow): Refusal | undefined {
  if (row.revoked_at !== null) return refuse('API_KEY_REVOKED');
  if (row.tenant_status !== 'active') return refuse('TENANT_NOT_ACTIVE');
  return row.user_status === 'suspended' ? refuse('USER_NOT_ACTIVE') : undefined;
}

function limitsOf(row: ApiKeyRow): CallerLimits {
  return {
    tenantId: row.tenant_id,
    timezone: row.timezone,
    creditLimit: nanoUsd(row.credit_limit_nano_usd),
    dailyQuota: countOrNull(row.daily_quota),
    monthlyQuota: countOrNull(row.monthly_quota),
    rpm: countOrNull(row.rpm_limit),
    tpm: countOrNull(row.tpm_limit),
    concurrency: countOrNull(row.concurrency_limit),
    allowances: allowancesOf(row),
    key: keyLimitsOf(row),
    user: userLimitsOf(row),
    group: groupLimitsOf(row),
    subscription: subscriptionOf(row),
  };
}

/** Those of services this process does not know are left out: an older process beside a newer one. */
function allowancesOf({ allowances }: ApiKeyRow): ReadonlyMap<Service, number> {
  const known = new Map<Service, number>();
  for (const [service, calls] of Object.entries(allowances ?? {})) {
    if (isService(service)) known.set(service, Number(calls));
  }
  return known;
}

function keyLimitsOf(row: ApiKeyRow): KeyLimits {
  return {
    apiKeyId: row.api_key_id,
    budget: usdOrNull(row.budget_nano_usd),
    usd5h: usdOrNull(row.limit_5h_nano_usd),
    usd1d: usdOrNull(row.limit_1d_nano_usd),
    usd7d: usdOrNull(row.limit_7d_nano_usd),
  };
}

function userLimitsOf(row: ApiKeyRow): UserLimits | null {
  if (row.user_id === null) return null;
  const platforms = (row.user_platforms ?? []).map((quota) => [quota.platform, usdLimits(quota)] as const);
  return { userId: row.user_id, rpm: countOrNull(row.user_rpm_limit), platforms: new Map(platforms) };
}

function groupLimitsOf(row: ApiKeyRow): GroupLimits | null {
  return row.group_id === null ? null : { groupId: row.group_id, rpm: countOrNull(row.group_rpm_limit) };
}

function subscriptionOf(row: ApiKeyRow): SubscriptionLimits | 'none' | null {
  if (row.group_kind !== 'subscription') return null;
  if (row.subscription_id === null) return 'none';
  return {
    subscriptionId: row.subscription_id,
    isActive: row.subscription_status === 'active',
    startsAtMs: row.subscription_starts_at?.getTime() ?? Number.NEGATIVE_INFINITY,
    endsAtMs: row.subscription_ends_at?.getTime() ?? Number.POSITIVE_INFINITY,
    ...usdLimits({ day: row.subscription_day, week: row.subscription_week, month: row.subscription_month }),
  };
}

function usdLimits({ day, week, month }: Readonly<Record<keyof UsdLimits, string | null>>): UsdLimits {
  return { day: usdOrNull(day), week: usdOrNull(week), month: usdOrNull(month) };
}

function usdOrNull(amount: string | null): NanoUsd | null {
  return amount === null ? null : nanoUsd(amount);
}

function countOrNull(count: string | null): number | null {
  return count === null ? null : Number(count);
}
