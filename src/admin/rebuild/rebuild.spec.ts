import { ControlPlane, errorOf } from '../../../test/support/control-plane-harness';
import { newId } from '../../kernel/ids';
import { RedisConnection } from '../../platform/redis/redis-connection';
import { QUOTA_STORE, type QuotaStore } from '../../quota/quota-store.port';
import { NO_LIMITS } from '../../quota/scopes/caller-limits';
import { quotaKey } from '../../quota/quota-keys';
import { holdRequest } from '../../../test/support/money-harness';
import { ZERO_NANO_USD } from '../../kernel/money';

describe('a rebuild by an administrator', () => {
  let plane: ControlPlane;

  beforeAll(async () => {
    plane = await ControlPlane.start();
  });
  afterAll(() => plane.stop());

  const reserve = (tenantId: string, amount: bigint) =>
    plane.app
      .get<QuotaStore>(QUOTA_STORE)
      .reserve(holdRequest({ tenantId, timezone: 'UTC', creditLimit: ZERO_NANO_USD, ...NO_LIMITS }, amount));

  it('corrects one tenant and says what was wrong', async () => {
    const id = await plane.newTenant({ initial_balance_usd: '1' });
    await reserve(id, 10n);
    await plane.app.get(RedisConnection).client.hset(quotaKey(id), 'posted', '7');
    expect(await plane.expectAdmin(200, 'POST', `rebuild/${id}`, {})).toEqual({
      object: 'tenant_rebuild',
      tenant_id: id,
      state: 'rebuilt',
      before: { posted_usd: '0.000000007', held_usd: '0.000000010' },
      after: { posted_usd: '1.000000000', held_usd: '0.000000010' },
      holds_added: 0,
      holds_removed: 0,
    });
    const log = await plane.expectAdmin(200, 'GET', `audit-log?entity=tenant&entity_id=${id}`);
    expect(log).toMatchObject({ data: [{ action: 'tenant.rebuild', before: { posted_usd: '0.000000007' } }, {}, {}] });
  });

  it('of a tenant of which a part is gone from Redis trusts nothing there any more', async () => {
    const id = await plane.newTenant({ initial_balance_usd: '1' });
    await reserve(id, 10n);
    const [{ epoch } = { epoch: '' }] = await plane.query<{ epoch: string }>('select epoch from quota_authority');
    await plane.app.get(RedisConnection).client.hdel(quotaKey(id), 'held');
    expect(await plane.expectAdmin(200, 'POST', `rebuild/${id}`, {})).toMatchObject({
      state: 'discarded',
      before: null,
      after: null,
    });
    expect(await plane.query('select epoch from quota_authority')).toEqual([{ epoch: String(BigInt(epoch) + 1n) }]);
    expect(await plane.expectAdmin(200, 'GET', `audit-log?entity=tenant&entity_id=${id}`)).toMatchObject({
      data: [{ action: 'tenant.rebuild', after: { state: 'discarded' } }, {}, {}],
    });
  });

  it('has nothing to correct where the tenant is not in Redis, and knows which tenants there are', async () => {
    const id = await plane.newTenant();
    expect(await plane.expectAdmin(200, 'POST', `rebuild/${id}`, {})).toMatchObject({ state: 'not_projected' });
    expect(errorOf(await plane.admin('POST', `rebuild/${newId()}`, {})).code).toBe('NOT_FOUND');
    expect(errorOf(await plane.admin('POST', 'rebuild/all', {})).param).toBe('tenant_id');
  });

  it('of all tenants trusts nothing in Redis any more, and is audited', async () => {
    const id = await plane.newTenant({ initial_balance_usd: '1' });
    await reserve(id, 10n);
    await plane.app.get(RedisConnection).client.hset(quotaKey(id), 'posted', '9000000000000000');
    const { epoch } = await plane.expectAdmin(200, 'POST', 'rebuild', {});
    expect(await plane.query('select epoch from quota_authority')).toEqual([{ epoch }]);
    expect(await reserve(id, 1_000_000_001n)).toMatchObject({ refusal: { code: 'QUOTA_BALANCE_EXCEEDED' } });
    expect(await reserve(id, 1_000_000_000n)).toMatchObject({ admitted: true });
    expect(await plane.expectAdmin(200, 'GET', 'audit-log?entity=quota_authority')).toMatchObject({
      data: [{ action: 'quota_authority.rebuild', after: { epoch } }],
    });
  });
});
