import type { Tenant } from '../../auth/tenant.entity';
import type { TenantBalance } from '../../billing/entities/tenant-balances';
import { type NanoUsd, toDecimalUsd } from '../../kernel/money';
import type { BalanceDto, FreeAllowancesDto, TenantDto } from './tenant.dto';

export function renderBalance(balance: TenantBalance): Readonly<BalanceDto> {
  return {
    posted_usd: toDecimalUsd(balance.posted),
    credit_limit_usd: toDecimalUsd(balance.creditLimit),
    held_usd: toDecimalUsd(balance.held),
    available_usd: toDecimalUsd(balance.available),
    overrun_usd: toDecimalUsd(balance.overrun),
  };
}

export function renderTenant(
  tenant: Tenant,
  balance: TenantBalance,
  allowances: Readonly<FreeAllowancesDto>,
): Readonly<TenantDto> {
  return {
    id: tenant.id,
    object: 'tenant',
    ...decided(tenant),
    free_allowances: allowances,
    balance: renderBalance(balance),
    created_at: tenant.createdAt.toISOString(),
    updated_at: tenant.updatedAt.toISOString(),
  };
}

/** What an administrator decides about a tenant: the part of it that the audit log keeps. */
export function auditedTenant(
  tenant: Tenant,
  creditLimit: NanoUsd,
  allowances: Readonly<FreeAllowancesDto>,
): Readonly<Record<string, unknown>> {
  return { ...decided(tenant), free_allowances: allowances, credit_limit_usd: toDecimalUsd(creditLimit) };
}

function decided(tenant: Tenant) {
  return {
    name: tenant.name,
    status: tenant.status,
    timezone: tenant.timezone,
    daily_quota: tenant.dailyQuota,
    monthly_quota: tenant.monthlyQuota,
    rpm_limit: tenant.rpmLimit,
    tpm_limit: tenant.tpmLimit,
    concurrency_limit: tenant.concurrencyLimit,
    unknown_price_policy: tenant.unknownPricePolicy,
  };
}
