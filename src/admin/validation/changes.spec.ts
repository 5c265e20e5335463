import 'reflect-metadata';
import { plainToInstance } from 'class-transformer';
import { validateSync } from 'class-validator';
import { UpdateApiKeyDto } from '../api-keys/api-key.dto';
import { UpdateTenantDto } from '../tenants/tenant.dto';
import { UpdateProviderDto } from '../upstreams/provider.dto';
import { UpdateUpstreamDto } from '../upstreams/upstream.dto';

/** Names of the fields that are refused, as the control plane validates. */
function refused(dto: new () => object, body: object): string[] {
  const options = { whitelist: true, forbidNonWhitelisted: true };
  return validateSync(plainToInstance(dto, body), options).map(({ property }) => property);
}

describe('a change', () => {
  it.each([UpdateTenantDto, UpdateProviderDto, UpdateUpstreamDto, UpdateApiKeyDto])(
    'may leave out everything, but a name is not null (%o)',
    (dto) => {
      expect(refused(dto, {})).toEqual([]);
      expect(refused(dto, { name: 'new' })).toEqual([]);
      expect(refused(dto, { name: null })).toEqual(['name']);
      expect(refused(dto, { name: ' new' })).toEqual(['name']);
    },
  );

  it.each([
    [UpdateTenantDto, { daily_quota: null, monthly_quota: null }],
    [UpdateUpstreamDto, { timeout_ms: null }],
    [UpdateApiKeyDto, { allowed_models: null, expires_at: null }],
  ])('may say null where null means something (%o)', (dto, body) => {
    expect(refused(dto, body)).toEqual([]);
  });

  it.each([
    [UpdateTenantDto, { initial_balance_usd: '1' }],
    [UpdateTenantDto, { status: 'closed' }],
    [UpdateTenantDto, { credit_limit_usd: null }],
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
