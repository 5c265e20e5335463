import { ControlPlane, errorOf } from '../../../test/support/control-plane-harness';
import { newId } from '../../kernel/ids';

describe('API keys of the control plane', () => {
  let plane: ControlPlane;
  let tenantId: string;

  beforeAll(async () => {
    plane = await ControlPlane.start();
    tenantId = await plane.newTenant();
  });
  afterAll(() => plane.stop());

  async function codeWith(key: string): Promise<unknown> {
    const answer = await plane.call('GET', '/v1/balance', undefined, { authorization: `Bearer ${key}` });
    return answer.status === 200 ? 'ADMITTED' : errorOf(answer).code;
  }

  it('shows a key once and never again, in no answer and no row', async () => {
    const { id, key } = await plane.newKey(tenantId, {
      allowed_models: ['a', 'b'],
      expires_at: '2099-01-01T00:00:00+08:00',
    });
    expect(await codeWith(key)).toBe('ADMITTED');
    const texts = [
      await plane.admin('GET', `api-keys/${id}`),
      await plane.admin('GET', `tenants/${tenantId}/api-keys`),
      await plane.admin('GET', 'audit-log?entity=api_key'),
    ].map(({ text }) => text);
    const [row] = await plane.query<object>('select * from api_key where id = $1', [id]);
    for (const text of [...texts, JSON.stringify(row)]) {
      expect(text).toContain(id);
      expect(text).not.toContain(key);
      expect(text).not.toContain(key.slice(6));
    }
    expect(await plane.expectAdmin(200, 'GET', `api-keys/${id}`)).toMatchObject({
      tenant_id: tenantId,
      hint: key.slice(-4),
      allowed_models: ['a', 'b'],
      expires_at: '2098-12-31T16:00:00.000Z',
      revoked_at: null,
    });
  });

  it('revokes for good and at once, and twice is harmless', async () => {
    const { id, key } = await plane.newKey(tenantId);
    expect(await codeWith(key)).toBe('ADMITTED');
    const revoked = await plane.expectAdmin(200, 'POST', `api-keys/${id}/revoke`, {});
    expect(await codeWith(key)).toBe('API_KEY_REVOKED');
    const again = await plane.expectAdmin(200, 'POST', `api-keys/${id}/revoke`, {});
    expect(again.revoked_at).toBe(revoked.revoked_at);
  });

  it('deletes a key and keeps what it paid for', async () => {
    const { id, key } = await plane.newKey(tenantId);
    await plane.query(
      `insert into request_log (id, tenant_id, api_key_id, channel, route, is_stream, status, duration_ms)
         values ($1, $2, $3, 'external', '/v1/chat/completions', false, 200, 5)`,
      [newId(), tenantId, id],
    );
    expect(await codeWith(key)).toBe('ADMITTED');
    expect(await plane.expectAdmin(200, 'DELETE', `api-keys/${id}`)).toEqual({ id, object: 'api_key', deleted: true });
    expect(await codeWith(key)).toBe('INVALID_API_KEY');
    expect((await plane.admin('GET', `api-keys/${id}`)).status).toBe(404);
    const logs = await plane.expectAdmin(200, 'GET', `request-logs?tenant_id=${tenantId}`);
    expect(logs).toMatchObject({ data: [{ tenant_id: tenantId, api_key_id: null, status: 200 }] });
  });

  it('changes name, models and expiry, and takes null for none', async () => {
    const { id } = await plane.newKey(tenantId, { allowed_models: ['a'], expires_at: '2099-01-01T00:00:00Z' });
    expect(await plane.expectAdmin(200, 'PATCH', `api-keys/${id}`, { name: 'new' })).toMatchObject({
      name: 'new',
      allowed_models: ['a'],
    });
    expect(
      await plane.expectAdmin(200, 'PATCH', `api-keys/${id}`, { allowed_models: null, expires_at: null }),
    ).toMatchObject({ allowed_models: null, expires_at: null });
  });

  it.each([
    [{ expires_at: '2020-01-01T00:00:00Z' }, 'expires_at', /future/],
    [{ expires_at: '2099-01-01T00:00:00' }, 'expires_at', /zone/],
    [{ expires_at: '2099-02-30T00:00:00Z' }, 'expires_at', /ISO 8601/],
    [{ expires_at: 4_070_908_800 }, 'expires_at', /ISO 8601/],
    [{ allowed_models: [] }, 'allowed_models', /at least 1/],
    [{ allowed_models: 'a' }, 'allowed_models', /array/],
    [{ allowed_models: [1] }, 'allowed_models', /string/],
    [{ allowed_models: ['a', 'a'] }, 'allowed_models', /unique/],
    [{ budget_usd: 5 }, 'budget_usd', /not a JSON number/],
    [{ limit_5h_usd: '-1' }, 'limit_5h_usd', /negative/],
    [{ limit_1d_usd: '9000001' }, 'limit_1d_usd', /9,000,000/],
    [{ limit_7d_usd: '0.0000000001' }, 'limit_7d_usd', /9 decimals/],
    [{ user_id: 'ann' }, 'user_id', /UUID/],
    [{ user_id: newId() }, 'user_id', /no such user/],
    [{ group_id: newId() }, 'group_id', /no such group/],
    [{ tenant_id: newId() }, 'tenant_id', /should not exist/],
    [{ key: 'sk-tg-mine' }, 'key', /should not exist/],
    [{ digest: 'x' }, 'digest', /should not exist/],
  ])('refuses %j and names the field', async (fields, field, reason) => {
    const answer = await plane.admin('POST', `tenants/${tenantId}/api-keys`, { name: 'ci', ...fields });
    expect([answer.status, errorOf(answer).param]).toEqual([400, field]);
    expect(String(errorOf(answer).message)).toMatch(reason);
  });

  it('takes limits and shows them with what is used: charged in the current window and held by calls under way', async () => {
    const limits = { budget_usd: '10', limit_5h_usd: '0', limit_1d_usd: '2.5', limit_7d_usd: null };
    const { id } = await plane.newKey(tenantId, limits);
    const shown = await plane.expectAdmin(200, 'GET', `api-keys/${id}`);
    expect(shown).toMatchObject({
      budget_usd: '10.000000000',
      limit_5h_usd: '0.000000000',
      limit_1d_usd: '2.500000000',
      limit_7d_usd: null,
      usage: [
        { scope: 'key_budget', counter: `key:${id}:budget`, measure: 'usd', limit: '10.000000000' },
        { scope: 'key_5h', limit: '0.000000000', used: '0.000000000', remaining: '0.000000000', resets_at: null },
        { scope: 'key_1d', used: '0.000000000', remaining: '2.500000000', window_start: null, resets_at: null },
      ],
    });
    const [startMs, endMs] = [Date.now() - 3_600_000, Date.now() + 3_600_000];
    for (const [counter, start, end, used] of [
      [`key:${id}:budget`, 0, 0, 12_000_000_000],
      [`key:${id}:5h`, startMs - 9e6, startMs, 7],
      [`key:${id}:1d`, startMs, endMs, 1_000_000_000],
    ]) {
      await plane.query('insert into quota_counter values ($1, $2, $3, $4, $5)', [tenantId, counter, start, end, used]);
    }
    await plane.query(
      `insert into billing_transaction (id, tenant_id, trace_id, type, status, channel, hold_nano_usd, scopes)
         values ($1, $2, $3, 'charge', 'PENDING', 'external', 500000000, $4)`,
      [newId(), tenantId, newId(), JSON.stringify([[`key:${id}:1d`, 'u', startMs, endMs]])],
    );
    expect(await plane.expectAdmin(200, 'GET', `api-keys/${id}`)).toMatchObject({
      usage: [
        { used: '12.000000000', remaining: '0.000000000', window_start: null, resets_at: null },
        { used: '0.000000000', resets_at: null },
        {
          used: '1.500000000',
          remaining: '1.000000000',
          window_start: new Date(startMs).toISOString(),
          resets_at: new Date(endMs).toISOString(),
        },
      ],
    });
  });

  it('changes limits, user and group by what is named, and null lifts them', async () => {
    const [user, group] = await Promise.all([
      plane.expectAdmin(201, 'POST', 'users', { tenant_id: tenantId, name: 'Ann' }),
      plane.expectAdmin(201, 'POST', 'groups', { tenant_id: tenantId, name: 'team' }),
    ]);
    const { id } = await plane.newKey(tenantId, { user_id: user.id, budget_usd: '1' });
    const changed = await plane.expectAdmin(200, 'PATCH', `api-keys/${id}`, { group_id: group.id, limit_7d_usd: '7' });
    expect(changed).toMatchObject({
      budget_usd: '1.000000000',
      limit_7d_usd: '7.000000000',
      user_id: user.id,
      group_id: group.id,
    });
    const found = await plane.expectAdmin(200, 'GET', `tenants/${tenantId}/api-keys?group_id=${String(group.id)}`);
    expect(found).toMatchObject({ data: [{ id }] });
    expect(await plane.expectAdmin(200, 'GET', `tenants/${tenantId}/api-keys?user_id=${newId()}`)).toMatchObject({
      data: [],
    });
    const lifted = { budget_usd: null, limit_7d_usd: null, user_id: null, group_id: null };
    expect(await plane.expectAdmin(200, 'PATCH', `api-keys/${id}`, lifted)).toMatchObject(lifted);
    const log = await plane.expectAdmin(200, 'GET', `audit-log?entity=api_key&entity_id=${id}&limit=1`);
    expect(log).toMatchObject({ data: [{ before: { user_id: user.id, budget_usd: '1.000000000' }, after: lifted }] });
  });

  it('names nobody of another tenant, neither when it is made nor when it is changed', async () => {
    const other = await plane.newTenant();
    const [user, group] = await Promise.all([
      plane.expectAdmin(201, 'POST', 'users', { tenant_id: other, name: 'Ann' }),
      plane.expectAdmin(201, 'POST', 'groups', { tenant_id: other, name: 'team' }),
    ]);
    const { id } = await plane.newKey(tenantId);
    for (const [field, value] of [
      ['user_id', user.id],
      ['group_id', group.id],
    ] as const) {
      for (const answer of [
        await plane.admin('POST', `tenants/${tenantId}/api-keys`, { name: 'ci', [field]: value }),
        await plane.admin('PATCH', `api-keys/${id}`, { [field]: value }),
      ]) {
        expect([answer.status, errorOf(answer).param]).toEqual([400, field]);
      }
    }
    expect(await plane.expectAdmin(200, 'GET', `api-keys/${id}`)).toMatchObject({ user_id: null, group_id: null });
  });

  it('lists the keys of one tenant only', async () => {
    const other = await plane.newTenant();
    const { id } = await plane.newKey(other);
    const { data } = await plane.expectAdmin(200, 'GET', `tenants/${other}/api-keys`);
    expect((data as { id: string }[]).map((key) => key.id)).toEqual([id]);
    expect((await plane.admin('GET', `tenants/${newId()}/api-keys`)).status).toBe(404);
  });
});
