import { ControlPlane, errorOf, textOf } from '../../../test/support/control-plane-harness';
import { newId } from '../../kernel/ids';

describe('quotas of users at platforms, of the control plane', () => {
  let plane: ControlPlane;
  let tenantId: string;

  beforeAll(async () => {
    plane = await ControlPlane.start();
    tenantId = await plane.newTenant();
  });
  afterAll(() => plane.stop());

  const newUser = async (of = tenantId): Promise<string> =>
    textOf(await plane.expectAdmin(201, 'POST', 'users', { tenant_id: of, name: 'Ann' }), 'id');

  it('belong to the user’s tenant, keep what they are told exactly, and are audited', async () => {
    const user_id = await newUser();
    const body = { user_id, platform: 'openai', daily_limit_usd: '0.000000001', monthly_limit_usd: '9000000' };
    const quota = await plane.expectAdmin(201, 'POST', 'user-platform-quotas', body);
    const id = textOf(quota, 'id');
    expect(quota).toMatchObject({
      object: 'user_platform_quota',
      tenant_id: tenantId,
      user_id,
      platform: 'openai',
      daily_limit_usd: '0.000000001',
      weekly_limit_usd: null,
      monthly_limit_usd: '9000000.000000000',
    });
    expect(await plane.expectAdmin(200, 'GET', `user-platform-quotas/${id}`)).toEqual(quota);
    const changes = { daily_limit_usd: null, weekly_limit_usd: '0' };
    expect(await plane.expectAdmin(200, 'PATCH', `user-platform-quotas/${id}`, changes)).toMatchObject({
      daily_limit_usd: null,
      weekly_limit_usd: '0.000000000',
      monthly_limit_usd: '9000000.000000000',
    });
    const deleted = await plane.expectAdmin(200, 'DELETE', `user-platform-quotas/${id}`);
    expect(deleted).toEqual({ id, object: 'user_platform_quota', deleted: true });
    const log = await plane.expectAdmin(200, 'GET', `audit-log?entity=user_platform_quota&entity_id=${id}`);
    expect(log).toMatchObject({
      data: [
        { action: 'user_platform_quota.delete', after: null },
        { before: { weekly_limit_usd: null }, after: { weekly_limit_usd: '0.000000000' } },
        { action: 'user_platform_quota.create', before: null },
      ],
    });
  });

  it('limit a user at each kind of provider apart', async () => {
    const user_id = await newUser();
    for (const platform of ['openai', 'anthropic']) {
      expect(await plane.expectAdmin(201, 'POST', 'user-platform-quotas', { user_id, platform })).toMatchObject({
        platform,
      });
    }
  });

  it('are one a user and platform, also when two are made at once', async () => {
    const user_id = await newUser();
    const answers = await Promise.all(
      Array.from({ length: 4 }, () => plane.admin('POST', 'user-platform-quotas', { user_id, platform: 'openai' })),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 409, 409, 409]);
    const refused = answers.find(({ status }) => status === 409);
    expect(refused && errorOf(refused).param).toBe('platform');
  });

  it('are listed by tenant and by user', async () => {
    const of = await plane.newTenant();
    const [ann, bob] = [await newUser(of), await newUser(of)];
    const ids: string[] = [];
    for (const user_id of [ann, bob]) {
      ids.push(
        textOf(await plane.expectAdmin(201, 'POST', 'user-platform-quotas', { user_id, platform: 'openai' }), 'id'),
      );
    }
    const idsOf = async (query: string): Promise<string[]> =>
      ((await plane.expectAdmin(200, 'GET', `user-platform-quotas?${query}`)).data as { id: string }[]).map(
        ({ id }) => id,
      );
    expect(await idsOf(`tenant_id=${of}`)).toEqual([ids[1], ids[0]]);
    expect(await idsOf(`user_id=${ann}`)).toEqual([ids[0]]);
    expect(await idsOf(`user_id=${ann}&tenant_id=${tenantId}`)).toEqual([]);
    expect(await idsOf(`tenant_id=${of}&limit=1&after=${ids[1] ?? ''}`)).toEqual([ids[0]]);
  });

  it.each([
    [{ user_id: newId() }, 'user_id', /no such user/],
    [{ user_id: 'ann' }, 'user_id', /UUID/],
    [{ platform: 'telepathy' }, 'platform', /openai/],
    [{ platform: null }, 'platform', /openai/],
    [{ daily_limit_usd: 5 }, 'daily_limit_usd', /string.*not a JSON number/],
    [{ weekly_limit_usd: '-1' }, 'weekly_limit_usd', /negative/],
    [{ monthly_limit_usd: '9000000.000000001' }, 'monthly_limit_usd', /9,000,000/],
    [{ monthly_limit_usd: '1.0000000001' }, 'monthly_limit_usd', /9 decimals/],
    [{ tenant_id: newId() }, 'tenant_id', /should not exist/],
  ])('refuse %j and name the field', async (fields, field, reason) => {
    const body = { user_id: await newUser(), platform: 'openai', ...fields };
    const answer = await plane.admin('POST', 'user-platform-quotas', body);
    expect([answer.status, errorOf(answer).param]).toEqual([400, field]);
    expect(String(errorOf(answer).message)).toMatch(reason);
  });

  it('do not change their user or platform, nor appear in a closed tenant', async () => {
    const user_id = await newUser();
    const { id } = await plane.expectAdmin(201, 'POST', 'user-platform-quotas', { user_id, platform: 'openai' });
    for (const body of [{ user_id: await newUser() }, { platform: 'openai' }]) {
      const answer = await plane.admin('PATCH', `user-platform-quotas/${String(id)}`, body);
      expect([answer.status, errorOf(answer).param]).toEqual([400, Object.keys(body)[0]]);
    }
    const closed = await plane.newTenant();
    const theirs = await newUser(closed);
    await plane.expectAdmin(200, 'DELETE', `tenants/${closed}`);
    const late = await plane.admin('POST', 'user-platform-quotas', { user_id: theirs, platform: 'openai' });
    expect([late.status, errorOf(late).param]).toEqual([409, 'user_id']);
  });
});
