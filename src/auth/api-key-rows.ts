import type { UnknownPricePolicy } from './principal';
import type { GroupKind } from './tenant-group.entity';
import type { UserStatus } from './tenant-user.entity';
import type { TenantStatus } from './tenant.entity';
import type { SubscriptionStatus } from './subscription.entity';

/** A key with everything that limits it as one row; bigint columns arrive as text, also within JSON. */
export interface ApiKeyRow {
  readonly digest: Buffer;
  readonly api_key_id: string;
  readonly api_key_name: string;
  readonly allowed_models: string[] | null;
  readonly expires_at: Date | null;
  readonly revoked_at: Date | null;
  readonly budget_nano_usd: string | null;
  readonly limit_5h_nano_usd: string | null;
  readonly limit_1d_nano_usd: string | null;
  readonly limit_7d_nano_usd: string | null;
  readonly tenant_id: string;
  readonly tenant_status: TenantStatus;
  readonly timezone: string;
  readonly daily_quota: string | null;
  readonly monthly_quota: string | null;
  readonly rpm_limit: string | null;
  readonly tpm_limit: string | null;
  readonly concurrency_limit: string | null;
  readonly unknown_price_policy: UnknownPricePolicy;
  readonly credit_limit_nano_usd: string;
  /** Calls a month by service; null where the tenant has no row yet. */
  readonly allowances: Readonly<Record<string, string>> | null;
  readonly user_id: string | null;
  readonly user_status: UserStatus | null;
  readonly user_rpm_limit: string | null;
  readonly user_platforms: readonly PlatformQuotaRow[] | null;
  readonly group_id: string | null;
  readonly group_kind: GroupKind | null;
  readonly price_multiplier_millionths: string;
  /** The user's override where there is one, else the group's; null is none. */
  readonly group_rpm_limit: string | null;
  /** All null where no subscription is for this key. */
  readonly subscription_id: string | null;
  readonly subscription_status: SubscriptionStatus | null;
  readonly subscription_starts_at: Date | null;
  readonly subscription_ends_at: Date | null;
  readonly subscription_day: string | null;
  readonly subscription_week: string | null;
  readonly subscription_month: string | null;
  /** When another subscription may count: the next begin or end of one that could; null: never. */
  readonly subscription_changes_at: Date | null;
}

export interface PlatformQuotaRow {
  readonly platform: string;
  readonly day: string | null;
  readonly week: string | null;
  readonly month: string | null;
}

/**
 * $1: digests, $2: now, in milliseconds since the Unix epoch. Of the subscriptions of a group those count that are for
 * every key of it or for the key's user: the active one whose time it is first (the user's own before one for all, then
 * the newest), else the newest, which then says why the key is refused.
 */
export const API_KEY_ROWS = `
select k.digest, k.id as api_key_id, k.name as api_key_name, k.allowed_models, k.expires_at, k.revoked_at,
       k.budget_nano_usd, k.limit_5h_nano_usd, k.limit_1d_nano_usd, k.limit_7d_nano_usd,
       t.id as tenant_id, t.status as tenant_status, t.timezone,
       t.daily_quota, t.monthly_quota, t.rpm_limit, t.tpm_limit, t.concurrency_limit, t.unknown_price_policy,
       coalesce(a.credit_limit_nano_usd, 0) as credit_limit_nano_usd,
       (select jsonb_object_agg(f.service, f.monthly_calls::text) from free_allowance f
         where f.tenant_id = t.id) as allowances,
       u.id as user_id, u.status as user_status, u.rpm_limit as user_rpm_limit,
       (select jsonb_agg(jsonb_build_object('platform', p.platform, 'day', p.daily_limit_nano_usd::text,
                 'week', p.weekly_limit_nano_usd::text, 'month', p.monthly_limit_nano_usd::text))
          from user_platform_quota p where p.user_id = u.id) as user_platforms,
       g.id as group_id, g.kind as group_kind, coalesce(g.price_multiplier_millionths, 1000000) as price_multiplier_millionths,
       case when o.rpm_limit is null then g.rpm_limit else nullif(o.rpm_limit, 0) end as group_rpm_limit,
       s.id as subscription_id, s.status as subscription_status,
       s.starts_at as subscription_starts_at, s.ends_at as subscription_ends_at,
       s.daily_limit_nano_usd as subscription_day, s.weekly_limit_nano_usd as subscription_week,
       s.monthly_limit_nano_usd as subscription_month, c.changes_at as subscription_changes_at
  from api_key k
  cross join (select to_timestamp($2::bigint / 1000.0) as at) now
  join tenant t on t.id = k.tenant_id
  left join ledger_account a on a.tenant_id = t.id and a.name = 'wallet'
  left join tenant_user u on u.id = k.user_id
  left join tenant_group g on g.id = k.group_id
  left join group_rpm_override o on o.group_id = g.id and o.user_id = u.id
  left join lateral (
    select s.* from subscription s
     where s.group_id = g.id and g.kind = 'subscription' and (s.user_id is null or s.user_id = u.id)
     order by (s.status = 'active' and s.starts_at <= now.at and (s.ends_at is null or s.ends_at > now.at)) desc,
              (s.status = 'active' and s.starts_at <= now.at and (s.ends_at is null or s.ends_at > now.at)
                and s.user_id is not null) desc,
              s.id desc
     limit 1) s on true
  left join lateral (
    select least(min(s.starts_at) filter (where s.starts_at > now.at),
                 min(s.ends_at) filter (where s.ends_at > now.at)) as changes_at
      from subscription s
     where s.group_id = g.id and g.kind = 'subscription' and s.status = 'active'
       and (s.user_id is null or s.user_id = u.id)) c on true
 where k.digest = any($1::bytea[])`;
