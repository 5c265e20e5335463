import { ControlPlane, textOf } from '../../../test/support/control-plane-harness';
import { newId } from '../../kernel/ids';
import { calendarWindow } from '../../kernel/windows';

interface Counter {
  readonly scope: string;
  readonly counter: string;
  readonly limit: string;
  readonly used: string | null;
  readonly remaining: string | null;
  readonly window_start: string | null;
  readonly resets_at: string | null;
}

describe('limits of a tenant of the control plane', () => {
  let plane: ControlPlane;
  let tenantId: string;

  beforeAll(async () => {
    plane = await ControlPlane.start();
  });
  beforeEach(async () => {
    tenantId = await plane.newTenant();
  });
  afterAll(() => plane.stop());

  async function quotaOf(id: string): Promise<{ counters: readonly Counter[]; has_more: boolean }> {
    const quota = await plane.expectAdmin(200, 'GET', `tenants/${id}/quota`);
    return { counters: quota.counters as Counter[], has_more: quota.has_more as boolean };
  }

  const counted = (counter: string, startMs: number, endMs: number, used: number): Promise<unknown> =>
    plane.query('insert into quota_counter values ($1, $2, $3, $4, $5)', [tenantId, counter, startMs, endMs, used]);

  const pending = (scopes: unknown, holdNanoUsd = 0): Promise<unknown> =>
    plane.query(
      `insert into billing_transaction (id, tenant_id, trace_id, type, status, channel, hold_nano_usd, scopes)
         values ($1, $2, $3, 'charge', 'PENDING', 'external', $4, $5)`,
      [newId(), tenantId, newId(), holdNanoUsd, JSON.stringify(scopes)],
    );

  it('are set for one service and leave the others', async () => {
    const path = `tenants/${await plane.newTenant({ free_allowances: { chat: 7 } })}`;
    expect(await plane.expectAdmin(200, 'PATCH', path, { free_allowances: { embeddings: 3 } })).toMatchObject({
      free_allowances: { chat: 7, embeddings: 3 },
    });
  });

  it('are set at once or later, lifted by null, and audited', async () => {
    const limits = { rpm_limit: 60, tpm_limit: 100_000, concurrency_limit: 0 };
    const id = await plane.newTenant({ ...limits, free_allowances: { chat: 5 } });
    const path = `tenants/${id}`;
    expect(await plane.expectAdmin(200, 'GET', path)).toMatchObject({ ...limits, free_allowances: { chat: 5 } });
    const changed = await plane.expectAdmin(200, 'PATCH', path, { tpm_limit: null, free_allowances: { chat: 7 } });
    expect(changed).toMatchObject({ ...limits, tpm_limit: null, free_allowances: { chat: 7 } });
    expect(await plane.expectAdmin(200, 'PATCH', path, { free_allowances: {} })).toMatchObject({
      free_allowances: { chat: 7 },
    });
    const { data } = await plane.expectAdmin(200, 'GET', `tenants?limit=2`);
    expect(data).toMatchObject([
      { id, free_allowances: { chat: 7 } },
      { id: tenantId, free_allowances: { chat: 0 } },
    ]);
    const log = await plane.expectAdmin(200, 'GET', `audit-log?entity=tenant&entity_id=${id}`);
    expect(log).toMatchObject({
      data: [
        {},
        {
          before: { ...limits, free_allowances: { chat: 5 } },
          after: { tpm_limit: null, free_allowances: { chat: 7 } },
        },
        { action: 'tenant.create', after: { ...limits, free_allowances: { chat: 5 } } },
      ],
    });
  });

  it('show none where none is set', async () => {
    expect(await quotaOf(tenantId)).toEqual({ counters: [], has_more: false });
  });

  it('show rates without a use, which Redis alone knows, and how many calls are under way', async () => {
    await plane.expectAdmin(200, 'PATCH', `tenants/${tenantId}`, { rpm_limit: 60, tpm_limit: 5, concurrency_limit: 3 });
    await pending([]);
    const { counters } = await quotaOf(tenantId);
    const unknown = { used: null, remaining: null, window_start: null, resets_at: null };
    expect(counters).toMatchObject([
      { scope: 'tenant_rpm', limit: '60', ...unknown },
      { scope: 'tenant_tpm', limit: '5', ...unknown },
      { scope: 'tenant_concurrency', limit: '3', used: '1', remaining: '2', resets_at: null },
    ]);
  });

  it('show use and reset of allowance, subscriptions, users and keys, each by its own window', async () => {
    await plane.expectAdmin(200, 'PATCH', `tenants/${tenantId}`, {
      timezone: 'Asia/Shanghai',
      free_allowances: { chat: 10 },
    });
    const { id: user_id } = await plane.expectAdmin(201, 'POST', 'users', { tenant_id: tenantId, name: 'Ann' });
    const paid = { tenant_id: tenantId, name: 'paid', kind: 'subscription' };
    const { id: group_id } = await plane.expectAdmin(201, 'POST', 'groups', paid);
    const subscribed = await plane.expectAdmin(201, 'POST', 'subscriptions', { group_id, weekly_limit_usd: '3' });
    const subscription = textOf(subscribed, 'id');
    const closed = await plane.expectAdmin(201, 'POST', 'subscriptions', { group_id, daily_limit_usd: '1' });
    await plane.expectAdmin(200, 'DELETE', `subscriptions/${textOf(closed, 'id')}`);
    const limits = { daily_limit_usd: '1', monthly_limit_usd: '30' };
    await plane.expectAdmin(201, 'POST', 'user-platform-quotas', { user_id, platform: 'openai', ...limits });
    const { id: key } = await plane.newKey(tenantId, { budget_usd: '5' });
    await plane.newKey(tenantId);
    const revoked = await plane.newKey(tenantId, { budget_usd: '5' });
    await plane.expectAdmin(200, 'POST', `api-keys/${revoked.id}/revoke`, {});

    const nowMs = Date.now();
    const month = calendarWindow(nowMs, 'Asia/Shanghai', 'month');
    const week = calendarWindow(nowMs, 'Asia/Shanghai', 'week');
    const day = calendarWindow(nowMs, 'UTC', 'day');
    await counted('free:chat', month.startMs, month.endMs, 4);
    await pending([['free:chat', 'r', month.startMs, month.endMs]], 99);
    await counted(`sub:${subscription}:week`, week.startMs - 7 * 86_400_000, week.startMs, 2_000_000_000);
    await counted(`user:${String(user_id)}:openai:day`, day.startMs, day.endMs, 1_500_000_000);
    await pending([[`key:${key}:budget`, 'u', 0, 0]], 2_000_000_000);

    const { counters, has_more } = await quotaOf(tenantId);
    expect(has_more).toBe(false);
    const boundsOf = (window: { startMs: number; endMs: number }): object => ({
      window_start: new Date(window.startMs).toISOString(),
      resets_at: new Date(window.endMs).toISOString(),
    });
    expect(counters).toEqual([
      {
        scope: 'allowance',
        counter: 'free:chat',
        measure: 'requests',
        limit: '10',
        used: '5',
        remaining: '5',
        ...boundsOf(month),
      },
      expect.objectContaining({
        scope: 'subscription_week',
        counter: `sub:${subscription}:week`,
        limit: '3.000000000',
        used: '0.000000000',
        ...boundsOf(week),
      }),
      expect.objectContaining({
        scope: 'user_platform_day',
        used: '1.500000000',
        remaining: '0.000000000',
        ...boundsOf(day),
      }),
      expect.objectContaining({ scope: 'user_platform_month', used: '0.000000000', resets_at: null }),
      expect.objectContaining({
        scope: 'key_budget',
        counter: `key:${key}:budget`,
        used: '2.000000000',
        remaining: '3.000000000',
        resets_at: null,
      }),
    ]);
  });

  it('include the allowance that FREE_ALLOWANCES makes with the first call, until an administrator says otherwise', async () => {
    const generous = await ControlPlane.start({ freeAllowances: 'chat=100' });
    try {
      const rows = (id: string): Promise<unknown[]> =>
        generous.query('select service, monthly_calls from free_allowance where tenant_id = $1', [id]);
      const [first, second] = [await generous.newTenant(), await generous.newTenant({ free_allowances: { chat: 3 } })];
      expect(await generous.expectAdmin(200, 'GET', `tenants/${first}`)).toMatchObject({
        free_allowances: { chat: 100 },
      });
      expect(await rows(first)).toEqual([]);
      for (const id of [first, second]) {
        const authorization = `Bearer ${(await generous.newKey(id)).key}`;
        expect((await generous.call('GET', '/v1/balance', undefined, { authorization })).status).toBe(200);
      }
      expect(await rows(first)).toEqual([{ service: 'chat', monthly_calls: '100' }]);
      expect(await rows(second)).toEqual([{ service: 'chat', monthly_calls: '3' }]);
      await generous.expectAdmin(200, 'PATCH', `tenants/${first}`, { free_allowances: { chat: 0 } });
      expect(await rows(first)).toEqual([{ service: 'chat', monthly_calls: '0' }]);
    } finally {
      await generous.stop();
    }
  });

  it('say so where a kind has more than a hundred', async () => {
    await plane.query(
      `insert into api_key (id, tenant_id, name, digest, hint, budget_nano_usd)
       select gen_random_uuid(), $1, 'ci', decode(lpad(to_hex(n), 64, '0'), 'hex'), 'hint', 5
         from generate_series(1, 101) n`,
      [tenantId],
    );
    const { counters, has_more } = await quotaOf(tenantId);
    expect([counters.length, has_more]).toEqual([100, true]);
  });
});
