import type { Tenant } from '../../auth/tenant.entity';
import type { TenantBalance } from '../../billing/entities/tenant-balances';
import { toDecimalUsd } from '../../kernel/money';
import type { BalanceDto, TenantDto } from './tenant.dto';

export function renderBalance(balance: TenantBalance): Readonly<BalanceDto> {
  return {
    posted_usd: toDecimalUsd(balance.posted),
    credit_limit_usd: toDecimalUsd(balance.creditLimit),
    held_usd: toDecimalUsd(balance.held),
    available_usd: toDecimalUsd(balance.available),
    overrun_usd: toDecimalUsd(balance.overrun),
  };
}

export function renderTenant(tenant: Tenant, balance: TenantBalance): Readonly<TenantDto> {
  return {
    id: tenant.id,
    object: 'tenant',
    name: tenant.name,
    status: tenant.status,
    timezone: tenant.timezone,
    daily_quota: tenant.dailyQuota,
    monthly_quota: tenant.monthlyQuota,
    unknown_price_policy: tenant.unknownPricePolicy,
    balance: renderBalance(balance),
    created_at: tenant.createdAt.toISOString(),
    updated_at: tenant.updatedAt.toISOString(),
  };
}

/** What an administrator decides about a tenant: the part of it that the audit log keeps. */
export function auditedTenant(tenant: Tenant, creditLimitUsd: string): object {
  return {
    name: tenant.name,
    status: tenant.status,
    timezone: tenant.timezone,
    daily_quota: tenant.dailyQuota,
    monthly_quota: tenant.monthlyQuota,
    unknown_price_policy: tenant.unknownPricePolicy,
    credit_limit_usd: creditLimitUsd,
  };
}
