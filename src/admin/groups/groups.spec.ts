import { ControlPlane, errorOf, textOf } from '../../../test/support/control-plane-harness';
import { ApiKeyAuthenticator } from '../../auth/api-key-authenticator';
import { newId } from '../../kernel/ids';

describe('groups of the control plane', () => {
  let plane: ControlPlane;
  let tenantId: string;

  beforeAll(async () => {
    plane = await ControlPlane.start();
    tenantId = await plane.newTenant();
  });
  afterAll(() => plane.stop());

  const newGroup = async (fields: object = {}): Promise<string> =>
    textOf(await plane.expectAdmin(201, 'POST', 'groups', { tenant_id: tenantId, name: 'team', ...fields }), 'id');
  const newUser = async (of = tenantId): Promise<string> =>
    textOf(await plane.expectAdmin(201, 'POST', 'users', { tenant_id: of, name: 'Ann' }), 'id');

  it('are standard unless told otherwise, change by what is named, and are audited', async () => {
    const group = await plane.expectAdmin(201, 'POST', 'groups', { tenant_id: tenantId, name: 'team' });
    const id = textOf(group, 'id');
    expect(group).toMatchObject({
      object: 'group',
      tenant_id: tenantId,
      name: 'team',
      kind: 'standard',
      rpm_limit: null,
      price_multiplier: '1.000000',
    });
    expect(await plane.expectAdmin(200, 'PATCH', `groups/${id}`, { rpm_limit: 60 })).toMatchObject({
      name: 'team',
      rpm_limit: 60,
    });
    expect(await plane.expectAdmin(200, 'PATCH', `groups/${id}`, { name: 'crew', rpm_limit: null })).toMatchObject({
      name: 'crew',
      rpm_limit: null,
    });
    const got = await plane.expectAdmin(200, 'GET', `groups/${id}`);
    expect(got).toMatchObject({ id, name: 'crew' });
    expect(await plane.expectAdmin(200, 'DELETE', `groups/${id}`)).toEqual({ id, object: 'group', deleted: true });
    const log = await plane.expectAdmin(200, 'GET', `audit-log?entity=group&entity_id=${id}`);
    expect((log.data as { action: string }[]).map(({ action }) => action)).toEqual([
      'group.delete',
      'group.update',
      'group.update',
      'group.create',
    ]);
  });

  it('are listed by tenant and kind', async () => {
    const of = await plane.newTenant();
    const standard = await newGroup({ tenant_id: of });
    const paid = await newGroup({ tenant_id: of, kind: 'subscription' });
    const idsOf = async (query: string): Promise<string[]> =>
      ((await plane.expectAdmin(200, 'GET', `groups?${query}`)).data as { id: string }[]).map(({ id }) => id);
    expect(await idsOf(`tenant_id=${of}`)).toEqual([paid, standard]);
    expect(await idsOf(`tenant_id=${of}&kind=subscription`)).toEqual([paid]);
  });

  it('stay while a key or a subscription names them', async () => {
    const id = await newGroup({ kind: 'subscription' });
    const { id: keyId } = await plane.newKey(tenantId, { group_id: id });
    await plane.newKey(tenantId, { group_id: id });
    const refused = await plane.admin('DELETE', `groups/${id}`);
    expect([refused.status, String(errorOf(refused).message)]).toEqual([
      409,
      expect.stringContaining('2 API keys name the group'),
    ]);
    await plane.expectAdmin(200, 'DELETE', `api-keys/${keyId}`);
    expect((await plane.admin('DELETE', `groups/${id}`)).status).toBe(409);
    const subscribed = await newGroup({ kind: 'subscription' });
    await plane.expectAdmin(201, 'POST', 'subscriptions', { group_id: subscribed });
    expect((await plane.admin('DELETE', `groups/${subscribed}`)).status).toBe(409);
  });

  it.each<[object, string]>([
    [{ tenant_id: newId() }, 'tenant_id'],
    [{ kind: 'free' }, 'kind'],
    [{ kind: null }, 'kind'],
    [{ rpm_limit: -1 }, 'rpm_limit'],
    [{ rpm_limit: true }, 'rpm_limit'],
    [{ name: ' team' }, 'name'],
    ...['0', '0.000000', '100.000001', '1e1', '-1', '1.0000001', '', 1, null].map(
      (price_multiplier): [object, string] => [{ price_multiplier }, 'price_multiplier'],
    ),
    [{ multiplier: 2 }, 'multiplier'],
  ])('refuse %j and name the field', async (fields, field) => {
    const answer = await plane.admin('POST', 'groups', { tenant_id: tenantId, name: 'team', ...fields });
    expect([answer.status, errorOf(answer).param]).toEqual([400, field]);
  });

  it('have a price multiplier, exact to six decimals, that their keys are looked up with', async () => {
    const id = await newGroup({ price_multiplier: '0.85' });
    const { key } = await plane.newKey(tenantId, { group_id: id });
    const authenticator = plane.app.get(ApiKeyAuthenticator);
    const multiplier = async (): Promise<unknown> => {
      const caller = await authenticator.authenticate({ authorization: `Bearer ${key}` });
      return 'code' in caller ? caller : caller.priceMultiplierMillionths;
    };
    expect(await multiplier()).toBe(850_000n);
    for (const [given, shown, millionths] of [
      ['100', '100.000000', 100_000_000n],
      ['0.000001', '0.000001', 1n],
    ] as const) {
      expect(await plane.expectAdmin(200, 'PATCH', `groups/${id}`, { price_multiplier: given })).toMatchObject({
        price_multiplier: shown,
      });
      expect(await multiplier()).toBe(millionths);
    }
    expect(await plane.expectAdmin(200, 'PATCH', `groups/${id}`, { rpm_limit: 1 })).toMatchObject({
      price_multiplier: '0.000001',
    });
  });

  it('never change who pays', async () => {
    const id = await newGroup();
    const answer = await plane.admin('PATCH', `groups/${id}`, { kind: 'subscription' });
    expect([answer.status, errorOf(answer).param]).toEqual([400, 'kind']);
  });

  describe('overrides', () => {
    it('are set and set anew by the same call, deleted, and audited', async () => {
      const [groupId, userId] = [await newGroup({ rpm_limit: 60 }), await newUser()];
      const path = `groups/${groupId}/rpm-overrides/${userId}`;
      const made = await plane.admin('PUT', path, { rpm_limit: 5 });
      expect(made).toMatchObject({
        status: 200,
        body: {
          id: userId,
          object: 'rpm_override',
          tenant_id: tenantId,
          group_id: groupId,
          user_id: userId,
          rpm_limit: 5,
        },
      });
      expect((await plane.admin('PUT', path, { rpm_limit: 0 })).body).toMatchObject({
        rpm_limit: 0,
        created_at: made.body.created_at,
      });
      expect(await plane.expectAdmin(200, 'DELETE', path)).toMatchObject({ id: userId, deleted: true });
      expect((await plane.admin('DELETE', path)).status).toBe(404);
      const log = await plane.expectAdmin(
        200,
        'GET',
        `audit-log?entity_id=${encodeURIComponent(`${groupId}/${userId}`)}`,
      );
      expect(log).toMatchObject({
        data: [
          { action: 'rpm_override.delete', before: { rpm_limit: 0 } },
          { action: 'rpm_override.update', before: { rpm_limit: 5 }, after: { rpm_limit: 0 } },
          { action: 'rpm_override.create', before: null, after: { rpm_limit: 5 } },
        ],
      });
    });

    it('are one, however many set it at once', async () => {
      const [groupId, userId] = [await newGroup(), await newUser()];
      const path = `groups/${groupId}/rpm-overrides/${userId}`;
      const answers = await Promise.all(
        Array.from({ length: 8 }, (_, rpm_limit) => plane.admin('PUT', path, { rpm_limit })),
      );
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
      const { data } = await plane.expectAdmin(200, 'GET', `groups/${groupId}/rpm-overrides`);
      expect(data).toHaveLength(1);
    });

    it('are listed a page at a time', async () => {
      const groupId = await newGroup();
      const users = [await newUser(), await newUser(), await newUser()];
      for (const userId of users)
        await plane.admin('PUT', `groups/${groupId}/rpm-overrides/${userId}`, { rpm_limit: 1 });
      const first = await plane.expectAdmin(200, 'GET', `groups/${groupId}/rpm-overrides?limit=2`);
      const cursor = textOf(first, 'next_cursor');
      const rest = await plane.expectAdmin(200, 'GET', `groups/${groupId}/rpm-overrides?after=${cursor}`);
      const ids = [first, rest].flatMap(({ data }) => (data as { user_id: string }[]).map(({ user_id }) => user_id));
      expect(ids).toEqual(users.reverse());
    });

    it('are for users of the group’s own tenant: another’s does not exist', async () => {
      const [groupId, userId] = [await newGroup(), await newUser()];
      const theirs = await newUser(await plane.newTenant());
      for (const path of [`${groupId}/rpm-overrides/${theirs}`, `${newId()}/rpm-overrides/${userId}`]) {
        expect((await plane.admin('PUT', `groups/${path}`, { rpm_limit: 1 })).status).toBe(404);
      }
      expect((await plane.admin('GET', `groups/${newId()}/rpm-overrides`)).status).toBe(404);
    });

    it.each([
      [{}, 'rpm_limit'],
      [{ rpm_limit: null }, 'rpm_limit'],
      [{ rpm_limit: -1 }, 'rpm_limit'],
      [{ rpm_limit: '5' }, 'rpm_limit'],
      [{ rpm_limit: 5, user_id: newId() }, 'user_id'],
    ])('refuse %j and name the field', async (fields, field) => {
      const answer = await plane.admin('PUT', `groups/${await newGroup()}/rpm-overrides/${await newUser()}`, fields);
      expect([answer.status, errorOf(answer).param]).toEqual([400, field]);
    });

    it('name the part of the path that is no id', async () => {
      const answer = await plane.admin('PUT', `groups/${await newGroup()}/rpm-overrides/ann`, { rpm_limit: 1 });
      expect([answer.status, errorOf(answer).param]).toEqual([400, 'user_id']);
    });
  });
});
