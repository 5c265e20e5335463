import { ControlPlane, errorOf, textOf } from '../../../test/support/control-plane-harness';
import { newId } from '../../kernel/ids';

describe('users of the control plane', () => {
  let plane: ControlPlane;
  let tenantId: string;

  beforeAll(async () => {
    plane = await ControlPlane.start();
    tenantId = await plane.newTenant();
  });
  afterAll(() => plane.stop());

  const newUser = async (fields: object = {}): Promise<string> =>
    textOf(await plane.expectAdmin(201, 'POST', 'users', { tenant_id: tenantId, name: 'Ann', ...fields }), 'id');

  async function codeWith(key: string): Promise<unknown> {
    const answer = await plane.call('GET', '/v1/balance', undefined, { authorization: `Bearer ${key}` });
    return answer.status === 200 ? 'ADMITTED' : errorOf(answer).code;
  }

  it('are made with defaults, changed by what is named, and leave their way in the audit log', async () => {
    const user = await plane.expectAdmin(201, 'POST', 'users', { tenant_id: tenantId, name: 'Ann' });
    const id = textOf(user, 'id');
    expect(user).toMatchObject({
      object: 'user',
      tenant_id: tenantId,
      name: 'Ann',
      external_id: null,
      status: 'active',
      rpm_limit: null,
    });
    expect(await plane.expectAdmin(200, 'GET', `users/${id}`)).toEqual(user);
    const changes = { name: 'Anne', external_id: 'crm-7', rpm_limit: 0 };
    expect(await plane.expectAdmin(200, 'PATCH', `users/${id}`, changes)).toMatchObject(changes);
    const lifted = await plane.expectAdmin(200, 'PATCH', `users/${id}`, { rpm_limit: null, external_id: null });
    expect(lifted).toMatchObject({ name: 'Anne', external_id: null, rpm_limit: null });
    expect(await plane.expectAdmin(200, 'DELETE', `users/${id}`)).toEqual({ id, object: 'user', deleted: true });
    expect((await plane.admin('GET', `users/${id}`)).status).toBe(404);
    const log = await plane.expectAdmin(200, 'GET', `audit-log?entity=user&entity_id=${id}`);
    expect(log).toMatchObject({
      data: [
        { action: 'user.delete', before: { name: 'Anne' }, after: null },
        { action: 'user.update', before: { rpm_limit: 0 }, after: { rpm_limit: null } },
        { action: 'user.update', before: { name: 'Ann' }, after: changes },
        { action: 'user.create', actor: 'admin-token', before: null, after: { name: 'Ann' } },
      ],
    });
  });

  it('have an external id of their own within their tenant, and any in another', async () => {
    const id = await newUser({ external_id: 'u-1' });
    const twin = await plane.admin('POST', 'users', { tenant_id: tenantId, name: 'Bob', external_id: 'u-1' });
    expect([twin.status, errorOf(twin).param]).toEqual([409, 'external_id']);
    const other = await newUser();
    const taken = await plane.admin('PATCH', `users/${other}`, { external_id: 'u-1' });
    expect([taken.status, errorOf(taken).param]).toEqual([409, 'external_id']);
    await newUser({ tenant_id: await plane.newTenant(), external_id: 'u-1' });
    const { data } = await plane.expectAdmin(200, 'GET', `users?tenant_id=${tenantId}&external_id=u-1`);
    expect((data as { id: string }[]).map((user) => user.id)).toEqual([id]);
  });

  it('are listed by tenant and status, newest first, in pages', async () => {
    const of = await plane.newTenant();
    const made = [await newUser({ tenant_id: of }), await newUser({ tenant_id: of }), await newUser({ tenant_id: of })];
    const first = await plane.expectAdmin(200, 'GET', `users?tenant_id=${of}&limit=2`);
    const rest = await plane.expectAdmin(200, 'GET', `users?tenant_id=${of}&after=${textOf(first, 'next_cursor')}`);
    const ids = [first, rest].flatMap(({ data }) => (data as { id: string }[]).map((user) => user.id));
    expect(ids).toEqual(made.reverse());
    expect(rest.has_more).toBe(false);
    await plane.expectAdmin(200, 'PATCH', `users/${ids[1] ?? ''}`, { status: 'suspended' });
    const suspended = await plane.expectAdmin(200, 'GET', `users?tenant_id=${of}&status=suspended`);
    expect((suspended.data as { id: string }[]).map((user) => user.id)).toEqual([ids[1]]);
  });

  it('that are suspended have their keys refused at once, and admitted again when they are active', async () => {
    const id = await newUser();
    const { key } = await plane.newKey(tenantId, { user_id: id });
    const { key: other } = await plane.newKey(tenantId);
    expect(await codeWith(key)).toBe('ADMITTED');
    await plane.expectAdmin(200, 'PATCH', `users/${id}`, { status: 'suspended' });
    expect([await codeWith(key), await codeWith(other)]).toEqual(['USER_NOT_ACTIVE', 'ADMITTED']);
    await plane.expectAdmin(200, 'PATCH', `users/${id}`, { status: 'active' });
    expect(await codeWith(key)).toBe('ADMITTED');
  });

  it('stay while a key or a subscription names them, and take quotas and overrides with them', async () => {
    const id = await newUser();
    const { id: keyId } = await plane.newKey(tenantId, { user_id: id });
    const refused = await plane.admin('DELETE', `users/${id}`);
    expect([refused.status, errorOf(refused).code]).toEqual([409, 'CONFLICT']);
    expect(String(errorOf(refused).message)).toContain('1 API key names the user');
    await plane.expectAdmin(200, 'PATCH', `api-keys/${keyId}`, { user_id: null });
    const quota = await plane.expectAdmin(201, 'POST', 'user-platform-quotas', { user_id: id, platform: 'openai' });
    const group = await plane.expectAdmin(201, 'POST', 'groups', { tenant_id: tenantId, name: 'team' });
    const overrides = `groups/${textOf(group, 'id')}/rpm-overrides`;
    expect((await plane.admin('PUT', `${overrides}/${id}`, { rpm_limit: 5 })).status).toBe(200);
    await plane.expectAdmin(200, 'DELETE', `users/${id}`);
    expect((await plane.admin('GET', `user-platform-quotas/${textOf(quota, 'id')}`)).status).toBe(404);
    expect(await plane.expectAdmin(200, 'GET', overrides)).toMatchObject({ data: [] });

    const paying = { tenant_id: tenantId, name: 'paid', kind: 'subscription' };
    const { id: group_id } = await plane.expectAdmin(201, 'POST', 'groups', paying);
    const subscriber = await newUser();
    const subscription = await plane.expectAdmin(201, 'POST', 'subscriptions', { group_id, user_id: subscriber });
    await plane.expectAdmin(200, 'DELETE', `subscriptions/${textOf(subscription, 'id')}`);
    const kept = await plane.admin('DELETE', `users/${subscriber}`);
    expect([kept.status, String(errorOf(kept).message)]).toEqual([409, expect.stringContaining('subscription')]);
  });

  it('are not lost from under a key that is given to them at the same moment', async () => {
    for (let round = 0; round < 10; round += 1) {
      const id = await newUser();
      const [created, deleted] = await Promise.all([
        plane.admin('POST', `tenants/${tenantId}/api-keys`, { name: 'ci', user_id: id }),
        plane.admin('DELETE', `users/${id}`),
      ]);
      expect([
        [201, 409],
        [400, 200],
      ]).toContainEqual([created.status, deleted.status]);
    }
  });

  it.each([
    [{ tenant_id: newId() }, 'tenant_id', /no such tenant/],
    [{ tenant_id: 'x' }, 'tenant_id', /UUID/],
    [{ tenant_id: null }, 'tenant_id', /UUID/],
    [{ name: '' }, 'name', /./],
    [{ external_id: 7 }, 'external_id', /string/],
    [{ external_id: '' }, 'external_id', /./],
    [{ rpm_limit: -1 }, 'rpm_limit', /less than 0/],
    [{ rpm_limit: 1.5 }, 'rpm_limit', /integer/],
    [{ rpm_limit: '60' }, 'rpm_limit', /integer/],
    [{ rpm_limit: 1e13 }, 'rpm_limit', /greater/],
    [{ status: 'suspended' }, 'status', /should not exist/],
    [{ id: newId() }, 'id', /should not exist/],
  ])('refuse %j and name the field', async (fields, field, reason) => {
    const answer = await plane.admin('POST', 'users', { tenant_id: tenantId, name: 'Ann', ...fields });
    expect([answer.status, errorOf(answer).param]).toEqual([400, field]);
    expect(String(errorOf(answer).message)).toMatch(reason);
  });

  it('do not change their tenant, nor appear in a closed one', async () => {
    const id = await newUser();
    const moved = await plane.admin('PATCH', `users/${id}`, { tenant_id: await plane.newTenant() });
    expect([moved.status, errorOf(moved).param]).toEqual([400, 'tenant_id']);
    const closed = await plane.newTenant();
    await plane.expectAdmin(200, 'DELETE', `tenants/${closed}`);
    const late = await plane.admin('POST', 'users', { tenant_id: closed, name: 'late' });
    expect([late.status, errorOf(late).param]).toEqual([409, 'tenant_id']);
  });

  it.each(['tenant_id=x', 'tenant_id=', 'status=gone', 'color=red', 'external_id='])(
    'refuse the query %s',
    async (query) => {
      const answer = await plane.admin('GET', `users?${query}`);
      expect([answer.status, errorOf(answer).param]).toEqual([400, query.split('=')[0]]);
    },
  );
});
