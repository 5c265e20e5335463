import { ControlPlane, errorOf, textOf } from '../../../test/support/control-plane-harness';
import { newId } from '../../kernel/ids';

describe('subscriptions of the control plane', () => {
  let plane: ControlPlane;
  let tenantId: string;
  let groupId: string;

  beforeAll(async () => {
    plane = await ControlPlane.start();
    tenantId = await plane.newTenant();
    groupId = await newGroup();
  });
  afterAll(() => plane.stop());

  const newGroup = async (fields: object = {}): Promise<string> => {
    const body = { tenant_id: tenantId, name: 'paid', kind: 'subscription', ...fields };
    return textOf(await plane.expectAdmin(201, 'POST', 'groups', body), 'id');
  };
  const newUser = async (of = tenantId): Promise<string> =>
    textOf(await plane.expectAdmin(201, 'POST', 'users', { tenant_id: of, name: 'Ann' }), 'id');

  it('begin now, without end, limit or user, unless told otherwise', async () => {
    const before = Date.now();
    const made = await plane.expectAdmin(201, 'POST', 'subscriptions', { group_id: groupId });
    expect(made).toMatchObject({
      object: 'subscription',
      tenant_id: tenantId,
      group_id: groupId,
      user_id: null,
      status: 'active',
      ends_at: null,
      daily_limit_usd: null,
      weekly_limit_usd: null,
      monthly_limit_usd: null,
    });
    const startsAt = Date.parse(textOf(made, 'starts_at'));
    expect(startsAt).toBeGreaterThanOrEqual(before);
    expect(startsAt).toBeLessThanOrEqual(Date.now());
    expect(await plane.expectAdmin(200, 'GET', `subscriptions/${textOf(made, 'id')}`)).toEqual(made);
  });

  it('keep time and limits as told, change by what is named, close for good, and are audited', async () => {
    const body = {
      group_id: groupId,
      user_id: await newUser(),
      starts_at: '2026-01-01T00:00:00+08:00',
      ends_at: '2027-01-01T00:00:00Z',
      daily_limit_usd: '1.5',
      monthly_limit_usd: '0',
    };
    const made = await plane.expectAdmin(201, 'POST', 'subscriptions', body);
    expect(made).toMatchObject({
      user_id: body.user_id,
      starts_at: '2025-12-31T16:00:00.000Z',
      ends_at: '2027-01-01T00:00:00.000Z',
      daily_limit_usd: '1.500000000',
      weekly_limit_usd: null,
      monthly_limit_usd: '0.000000000',
    });
    const path = `subscriptions/${textOf(made, 'id')}`;
    for (const status of ['paused', 'active', 'cancelled', 'active']) {
      expect(await plane.expectAdmin(200, 'PATCH', path, { status })).toMatchObject({ status, ends_at: made.ends_at });
    }
    const changes = { ends_at: null, daily_limit_usd: null, weekly_limit_usd: '2', starts_at: '2026-02-01T00:00:00Z' };
    expect(await plane.expectAdmin(200, 'PATCH', path, changes)).toMatchObject({
      ends_at: null,
      daily_limit_usd: null,
      weekly_limit_usd: '2.000000000',
      starts_at: '2026-02-01T00:00:00.000Z',
    });
    expect(await plane.expectAdmin(200, 'DELETE', path)).toMatchObject({ status: 'closed' });
    expect(await plane.expectAdmin(200, 'DELETE', path)).toMatchObject({ status: 'closed' });
    const late = await plane.admin('PATCH', path, { status: 'active' });
    expect([late.status, errorOf(late).param]).toEqual([409, 'id']);
    expect(await plane.expectAdmin(200, 'GET', path)).toMatchObject({
      status: 'closed',
      weekly_limit_usd: '2.000000000',
    });
    const log = await plane.expectAdmin(200, 'GET', `audit-log?entity=subscription&entity_id=${textOf(made, 'id')}`);
    const actions = (log.data as { action: string }[]).map(({ action }) => action.split('.')[1]);
    expect(actions).toEqual(['close', 'close', ...Array<string>(5).fill('update'), 'create']);
  });

  it('are listed by tenant, group, user and status, in pages', async () => {
    const of = await plane.newTenant();
    const [first, second, user_id] = [
      await newGroup({ tenant_id: of }),
      await newGroup({ tenant_id: of }),
      await newUser(of),
    ];
    const made: string[] = [];
    for (const body of [{ group_id: first }, { group_id: first, user_id }, { group_id: second }]) {
      made.push(textOf(await plane.expectAdmin(201, 'POST', 'subscriptions', body), 'id'));
    }
    await plane.expectAdmin(200, 'PATCH', `subscriptions/${made[0] ?? ''}`, { status: 'paused' });
    const idsOf = async (query: string): Promise<string[]> =>
      ((await plane.expectAdmin(200, 'GET', `subscriptions?${query}`)).data as { id: string }[]).map(({ id }) => id);
    expect(await idsOf(`tenant_id=${of}`)).toEqual([...made].reverse());
    expect(await idsOf(`tenant_id=${of}&limit=1&after=${made[2] ?? ''}`)).toEqual([made[1]]);
    expect(await idsOf(`group_id=${second}`)).toEqual([made[2]]);
    expect(await idsOf(`user_id=${user_id}`)).toEqual([made[1]]);
    expect(await idsOf(`tenant_id=${of}&status=paused`)).toEqual([made[0]]);
  });

  it('are of one tenant: neither another’s group with its user, nor the other way round', async () => {
    const other = await plane.newTenant();
    const [theirGroup, theirUser] = [await newGroup({ tenant_id: other }), await newUser(other)];
    for (const body of [
      { group_id: groupId, user_id: theirUser },
      { group_id: theirGroup, user_id: await newUser() },
    ]) {
      const answer = await plane.admin('POST', 'subscriptions', body);
      expect([answer.status, errorOf(answer).param]).toEqual([400, 'user_id']);
    }
  });

  it('are only for groups of their kind, in tenants that are open', async () => {
    const standard = await newGroup({ kind: 'standard' });
    const wrong = await plane.admin('POST', 'subscriptions', { group_id: standard });
    expect([wrong.status, errorOf(wrong).param]).toEqual([400, 'group_id']);
    const closed = await plane.newTenant();
    const group_id = await newGroup({ tenant_id: closed });
    await plane.expectAdmin(200, 'DELETE', `tenants/${closed}`);
    const late = await plane.admin('POST', 'subscriptions', { group_id });
    expect([late.status, errorOf(late).param]).toEqual([409, 'group_id']);
  });

  it.each([
    [{ group_id: newId() }, 'group_id', /no such group/],
    [{ group_id: 'x' }, 'group_id', /UUID/],
    [{ user_id: newId() }, 'user_id', /no such user/],
    [{ starts_at: null }, 'starts_at', /ISO 8601/],
    [{ starts_at: '2026-01-01T00:00:00' }, 'starts_at', /zone/],
    [{ starts_at: '2026-02-30T00:00:00Z' }, 'starts_at', /ISO 8601/],
    [{ starts_at: '-0001-01-01T00:00:00Z' }, 'starts_at', /starts_at/],
    [{ starts_at: '1969-12-31T23:59:59Z' }, 'starts_at', /1970/],
    [{ ends_at: '2026-W02-1T00:00:00Z' }, 'ends_at', /ends_at/],
    [{ starts_at: '2026-01-01T00:00:00Z', ends_at: '2026-01-01T00:00:00Z' }, 'ends_at', /after starts_at/],
    [{ daily_limit_usd: 1 }, 'daily_limit_usd', /not a JSON number/],
    [{ weekly_limit_usd: '-0.1' }, 'weekly_limit_usd', /negative/],
    [{ monthly_limit_usd: '1e3' }, 'monthly_limit_usd', /decimal/],
    [{ status: 'closed' }, 'status', /should not exist/],
    [{ tenant_id: newId() }, 'tenant_id', /should not exist/],
  ])('refuse %j and name the field', async (fields, field, reason) => {
    const answer = await plane.admin('POST', 'subscriptions', { group_id: groupId, ...fields });
    expect([answer.status, errorOf(answer).param]).toEqual([400, field]);
    expect(String(errorOf(answer).message)).toMatch(reason);
  });

  it.each([
    [{ status: 'closed' }],
    [{ status: null }],
    [{ group_id: newId() }],
    [{ user_id: null }],
    [{ starts_at: null }],
  ])('cannot be changed to %j', async (body) => {
    const { id } = await plane.expectAdmin(201, 'POST', 'subscriptions', { group_id: groupId });
    const answer = await plane.admin('PATCH', `subscriptions/${String(id)}`, body);
    expect([answer.status, errorOf(answer).param]).toEqual([400, Object.keys(body)[0]]);
  });

  it('do not end before they begin, however they are changed', async () => {
    const body = { group_id: groupId, starts_at: '2026-01-01T00:00:00Z', ends_at: '2026-02-01T00:00:00Z' };
    const { id } = await plane.expectAdmin(201, 'POST', 'subscriptions', body);
    const answer = await plane.admin('PATCH', `subscriptions/${String(id)}`, { starts_at: '2026-03-01T00:00:00Z' });
    expect([answer.status, errorOf(answer).param]).toEqual([400, 'ends_at']);
  });
});
