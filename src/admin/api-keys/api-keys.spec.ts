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
    [{ tenant_id: newId() }, 'tenant_id', /should not exist/],
    [{ key: 'sk-tg-mine' }, 'key', /should not exist/],
    [{ digest: 'x' }, 'digest', /should not exist/],
  ])('refuses %j and names the field', async (fields, field, reason) => {
    const answer = await plane.admin('POST', `tenants/${tenantId}/api-keys`, { name: 'ci', ...fields });
    expect([answer.status, errorOf(answer).param]).toEqual([400, field]);
    expect(String(errorOf(answer).message)).toMatch(reason);
  });

  it('lists the keys of one tenant only', async () => {
    const other = await plane.newTenant();
    const { id } = await plane.newKey(other);
    const { data } = await plane.expectAdmin(200, 'GET', `tenants/${other}/api-keys`);
    expect((data as { id: string }[]).map((key) => key.id)).toEqual([id]);
    expect((await plane.admin('GET', `tenants/${newId()}/api-keys`)).status).toBe(404);
  });
});
