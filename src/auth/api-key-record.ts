import { type Refusal, refuse } from '../kernel/errors';
import { nanoUsd } from '../kernel/money';
import { NO_LIMITS } from '../quota/scopes/caller-limits';
import type { Principal, UnknownPricePolicy } from './principal';
import type { TenantStatus } from './tenant.entity';

/** A key and its tenant as one row; bigint columns arrive as text. */
export interface ApiKeyRow {
  readonly digest: Buffer;
  readonly api_key_id: string;
  readonly api_key_name: string;
  readonly allowed_models: string[] | null;
  readonly expires_at: Date | null;
  readonly revoked_at: Date | null;
  readonly tenant_id: string;
  readonly tenant_status: TenantStatus;
  readonly timezone: string;
  readonly daily_quota: string | null;
  readonly monthly_quota: string | null;
  readonly unknown_price_policy: UnknownPricePolicy;
  readonly credit_limit_nano_usd: string;
}

/** What a known key means, worked out once when it is read; only the expiry is left to each use. */
export interface ApiKeyRecord {
  readonly digest: Buffer;
  readonly principal: Principal;
  /** Set where the key is refused whatever the time. */
  readonly refusal: Refusal | undefined;
  readonly expiresAtMs: number;
}

export const API_KEY_ROWS = `
select k.digest, k.id as api_key_id, k.name as api_key_name, k.allowed_models, k.expires_at, k.revoked_at,
       t.id as tenant_id, t.status as tenant_status, t.timezone,
       t.daily_quota, t.monthly_quota, t.unknown_price_policy,
       coalesce(a.credit_limit_nano_usd, 0) as credit_limit_nano_usd
  from api_key k
  join tenant t on t.id = k.tenant_id
  left join ledger_account a on a.tenant_id = t.id and a.name = 'wallet'
 where k.digest = any($1::bytea[])`;

export function recordOf(row: ApiKeyRow): ApiKeyRecord {
  return {
    digest: row.digest,
    principal: principalOf(row),
    refusal: standingRefusal(row),
    expiresAtMs: row.expires_at?.getTime() ?? Number.POSITIVE_INFINITY,
  };
}

function principalOf(row: ApiKeyRow): Principal {
  return {
    tenantId: row.tenant_id,
    apiKeyId: row.api_key_id,
    apiKeyName: row.api_key_name,
    allowedModels: row.allowed_models === null ? null : new Set(row.allowed_models),
    limits: {
      tenantId: row.tenant_id,
      timezone: row.timezone,
      creditLimit: nanoUsd(row.credit_limit_nano_usd),
      ...NO_LIMITS,
      dailyQuota: row.daily_quota === null ? null : Number(row.daily_quota),
      monthlyQuota: row.monthly_quota === null ? null : Number(row.monthly_quota),
    },
    unknownPricePolicy: row.unknown_price_policy,
  };
}

function standingRefusal(row: ApiKeyRow): Refusal | undefined {
  if (row.revoked_at !== null) return refuse('API_KEY_REVOKED');
  return row.tenant_status === 'active' ? undefined : refuse('TENANT_NOT_ACTIVE');
}
