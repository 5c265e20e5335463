import 'reflect-metadata';
import { plainToInstance } from 'class-transformer';
import { validateSync } from 'class-validator';
import { UpdateApiKeyDto } from '../api-keys/api-key.dto';
import { UpdateGroupDto } from '../groups/group.dto';
import { UpdateSubscriptionDto } from '../subscriptions/subscription.dto';
import { UpdateTenantDto } from '../tenants/tenant.dto';
import { UpdateProviderDto } from '../upstreams/provider.dto';
import { UpdateUpstreamDto } from '../upstreams/upstream.dto';
import { UpdateUserPlatformQuotaDto } from '../user-platform-quotas/user-platform-quota.dto';
import { UpdateUserDto } from '../users/user.dto';

/** Names of the fields that are refused, as the control plane validates. */
function refused(dto: new () => object, body: object): string[] {
  const options = { whitelist: true, forbidNonWhitelisted: true };
  return validateSync(plainToInstance(dto, body), options).map(({ property }) => property);
}

describe('a change', () => {
  it.each([UpdateTenantDto, UpdateProviderDto, UpdateUpstreamDto, UpdateApiKeyDto, UpdateUserDto, UpdateGroupDto])(
    'may leave out everything, but a name is not null (%o)',
    (dto) => {
      expect(refused(dto, {})).toEqual([]);
      expect(refused(dto, { name: 'new' })).toEqual([]);
      expect(refused(dto, { name: null })).toEqual(['name']);
      expect(refused(dto, { name: ' new' })).toEqual(['name']);
    },
  );

  it.each([
    [UpdateTenantDto, { daily_quota: null, monthly_quota: null, rpm_limit: null, tpm_limit: null }],
    [UpdateTenantDto, { concurrency_limit: null, free_allowances: {} }],
    [UpdateUserDto, { external_id: null, rpm_limit: null }],
    [UpdateGroupDto, { rpm_limit: null }],
    [UpdateUserPlatformQuotaDto, { daily_limit_usd: null, weekly_limit_usd: null, monthly_limit_usd: null }],
    [UpdateSubscriptionDto, { ends_at: null, daily_limit_usd: null }],
    [UpdateUpstreamDto, { timeout_ms: null }],
    [UpdateApiKeyDto, { allowed_models: null, expires_at: null, budget_usd: null, user_id: null, group_id: null }],
  ])('may say null where null means something (%o)', (dto, body) => {
    expect(refused(dto, body)).toEqual([]);
  });

  it.each([
    [UpdateTenantDto, { initial_balance_usd: '1' }],
    [UpdateTenantDto, { status: 'closed' }],
    [UpdateTenantDto, { credit_limit_usd: null }],
    [UpdateTenantDto, { free_allowances: null }],
    [UpdateTenantDto, { free_allowances: { chat: null } }],
    [UpdateUserDto, { tenant_id: '0b0e8400-e29b-41d4-a716-446655440000' }],
    [UpdateUserDto, { status: null }],
    [UpdateGroupDto, { kind: 'standard' }],
    [UpdateUserPlatformQuotaDto, { platform: 'openai' }],
    [UpdateSubscriptionDto, { status: 'closed' }],
    [UpdateSubscriptionDto, { starts_at: null }],
    [UpdateProviderDto, { kind: 'openai' }],
    [UpdateProviderDto, { api_key: null }],
    [UpdateUpstreamDto, { provider_id: '0b0e8400-e29b-41d4-a716-446655440000' }],
    [UpdateUpstreamDto, { weight: null }],
    [UpdateUpstreamDto, { model: null }],
    [UpdateApiKeyDto, { allowed_models: [] }],
  ])('keeps the rules of the creation and cannot change what is fixed (%o, %j)', (dto, body) => {
    expect(refused(dto, body)).toEqual(Object.keys(body));
  });
});
