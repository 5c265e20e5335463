import { randomUUID } from 'node:crypto';
import { ControlPlane, errorOf, textOf } from '../../../test/support/control-plane-harness';
import { newId } from '../../kernel/ids';

describe('tenants of the control plane', () => {
  let plane: ControlPlane;

  beforeAll(async () => {
    plane = await ControlPlane.start();
  });
  afterAll(() => plane.stop());

  it('creates a tenant with its accounts, defaults and an initial balance that the ledger knows', async () => {
    const tenant = await plane.expectAdmin(201, 'POST', 'tenants', {
      name: 'Müller & Söhne',
      initial_balance_usd: '10',
    });
    expect(tenant).toMatchObject({
      object: 'tenant',
      name: 'Müller & Söhne',
      status: 'active',
      timezone: 'UTC',
      daily_quota: 1000,
      monthly_quota: 30000,
      rpm_limit: null,
      tpm_limit: null,
      concurrency_limit: null,
      free_allowances: { chat: 0 },
      unknown_price_policy: 'reject',
      balance: {
        posted_usd: '10.000000000',
        credit_limit_usd: '0.000000000',
        held_usd: '0.000000000',
        available_usd: '10.000000000',
        overrun_usd: '0.000000000',
      },
    });
    const id = textOf(tenant, 'id');
    expect(await plane.expectAdmin(200, 'GET', `tenants/${id}`)).toEqual(tenant);
    const accounts = await plane.query(`select name, version from ledger_account where tenant_id = $1 order by name`, [
      id,
    ]);
    expect(accounts).toEqual([
      { name: 'overrun', version: '0' },
      { name: 'wallet', version: '1' },
    ]);
    const found = await plane.expectAdmin(200, 'GET', `transactions?tenant_id=${id}`);
    expect(found).toMatchObject({
      data: [{ type: 'adjustment', status: 'COMMITTED', amount_usd: '10.000000000', reason_code: 'INITIAL_BALANCE' }],
      totals: { count: 1, amount_usd: '10.000000000' },
    });
  });

  it('takes null for an unlimited quota and keeps what it was told', async () => {
    const fields = {
      daily_quota: null,
      monthly_quota: 5,
      timezone: 'Asia/Shanghai',
      credit_limit_usd: '2.5',
      unknown_price_policy: 'free',
    };
    const tenant = await plane.expectAdmin(201, 'POST', 'tenants', { name: 'Acme', ...fields });
    expect(tenant).toMatchObject({
      daily_quota: null,
      monthly_quota: 5,
      timezone: 'Asia/Shanghai',
      unknown_price_policy: 'free',
      balance: { credit_limit_usd: '2.500000000', available_usd: '2.500000000' },
    });
    const quota = await plane.expectAdmin(200, 'GET', `tenants/${textOf(tenant, 'id')}/quota`);
    expect(quota).toMatchObject({
      timezone: 'Asia/Shanghai',
      daily: { limit: null, used: 0, remaining: null },
      monthly: { limit: 5, used: 0, remaining: 5 },
    });
    const resets = ((quota as { daily: unknown }).daily as { resets_at: string }).resets_at;
    expect(resets).toMatch(/T16:00:00\.000Z$/);
  });

  it.each([
    [{ initial_balance_usd: 10 }, 'initial_balance_usd', /string.*not a JSON number/],
    [{ initial_balance_usd: '1e3' }, 'initial_balance_usd', /decimal USD string/],
    [{ initial_balance_usd: '-1' }, 'initial_balance_usd', /negative/],
    [{ initial_balance_usd: '1.0000000001' }, 'initial_balance_usd', /9 decimals/],
    [{ initial_balance_usd: null }, 'initial_balance_usd', /decimal USD string/],
    [{ initial_balance_usd: '9000000.000000001' }, 'initial_balance_usd', /9,000,000/],
    [{ initial_balance_usd: '5000000', credit_limit_usd: '4000000.01' }, 'initial_balance_usd', /9,000,000/],
    [{ daily_quota: '7' }, 'daily_quota', /integer/],
    [{ daily_quota: -1 }, 'daily_quota', /less than 0/],
    [{ monthly_quota: 1.5 }, 'monthly_quota', /integer/],
    [{ rpm_limit: -1 }, 'rpm_limit', /less than 0/],
    [{ tpm_limit: 1e13 }, 'tpm_limit', /greater/],
    [{ concurrency_limit: 1.5 }, 'concurrency_limit', /integer/],
    [{ free_allowances: null }, 'free_allowances', /object/],
    [{ free_allowances: [100] }, 'free_allowances', /object/],
    [{ free_allowances: { chat: -1 } }, 'free_allowances.chat', /less than 0/],
    [{ free_allowances: { chat: '100' } }, 'free_allowances.chat', /integer/],
    [{ free_allowances: { telepathy: 1 } }, 'free_allowances.telepathy', /should not exist/],
    [{ timezone: 'Mars/Olympus' }, 'timezone', /IANA/],
    [{ name: '' }, 'name', /./],
    [{ name: ' x' }, 'name', /blank/],
    [{ name: 'a\u0000b' }, 'name', /control/],
    [{ name: ['x'] }, 'name', /string/],
    [{ posted_nano_usd: '5' }, 'posted_nano_usd', /should not exist/],
    [{ status: 'closed' }, 'status', /should not exist/],
    [{ balance: {} }, 'balance', /should not exist/],
  ])('refuses %j and names the field', async (fields, field, reason) => {
    const answer = await plane.admin('POST', 'tenants', { name: 'Acme', ...fields });
    expect(answer.status).toBe(400);
    expect(errorOf(answer)).toMatchObject({ code: 'INVALID_REQUEST', param: field });
    expect(String(errorOf(answer).message)).toMatch(reason);
  });

  it('refuses a body that is no object, and an id that is no UUID', async () => {
    expect((await plane.admin('POST', 'tenants')).status).toBe(400);
    expect((await plane.admin('POST', 'tenants', [])).status).toBe(400);
    const answer = await plane.admin('GET', `tenants/x'--`);
    expect([answer.status, errorOf(answer).param]).toEqual([400, 'id']);
    expect((await plane.admin('GET', `tenants/${newId()}`)).status).toBe(404);
  });

  it('changes only what it is told to', async () => {
    const id = await plane.newTenant({ daily_quota: 3 });
    const changed = await plane.expectAdmin(200, 'PATCH', `tenants/${id}`, {
      status: 'suspended',
      monthly_quota: null,
    });
    expect(changed).toMatchObject({ name: 'Acme', status: 'suspended', daily_quota: 3, monthly_quota: null });
    const answer = await plane.admin('PATCH', `tenants/${id}`, { name: null });
    expect([answer.status, errorOf(answer).param]).toEqual([400, 'name']);
  });

  it('keeps balance and credit limit together within the bound, whatever their order', async () => {
    const id = await plane.newTenant({ initial_balance_usd: '8000000' });
    const answer = await plane.admin('PATCH', `tenants/${id}`, { credit_limit_usd: '1000000.000000001' });
    expect([answer.status, errorOf(answer).param]).toEqual([400, 'credit_limit_usd']);
    await plane.expectAdmin(200, 'PATCH', `tenants/${id}`, { credit_limit_usd: '1000000' });
    const adjustment = { amount_usd: '0.000000001', reason_code: 'TEST', description: 'one nano too many' };
    const refused = await plane.admin('POST', `tenants/${id}/adjustments`, adjustment, { 'idempotency-key': 'a' });
    expect([refused.status, errorOf(refused).param]).toEqual([400, 'amount_usd']);
  });

  it('closes a tenant for good, refuses its keys, and keeps its history', async () => {
    const id = await plane.newTenant({ initial_balance_usd: '1' });
    const { key } = await plane.newKey(id);
    const authorization = `Bearer ${key}`;
    expect((await plane.call('GET', '/v1/balance', undefined, { authorization })).status).toBe(200);
    expect(await plane.expectAdmin(200, 'DELETE', `tenants/${id}`)).toMatchObject({ status: 'closed' });
    expect(errorOf(await plane.call('GET', '/v1/balance', undefined, { authorization }))).toMatchObject({
      code: 'TENANT_NOT_ACTIVE',
    });
    expect((await plane.admin('PATCH', `tenants/${id}`, { status: 'active' })).status).toBe(409);
    expect((await plane.admin('POST', `tenants/${id}/api-keys`, { name: 'late' })).status).toBe(409);
    expect(await plane.expectAdmin(200, 'GET', `tenants/${id}`)).toMatchObject({
      balance: { posted_usd: '1.000000000' },
    });
  });

  it('pages tenants newest first without a gap or a repeat', async () => {
    const made = [await plane.newTenant(), await plane.newTenant(), await plane.newTenant()];
    const seen: string[] = [];
    let after = '';
    do {
      const page = await plane.expectAdmin(200, 'GET', `tenants?limit=2${after === '' ? '' : `&after=${after}`}`);
      seen.push(...(page.data as { id: string }[]).map(({ id }) => id));
      expect(page.has_more).toBe(page.next_cursor !== null);
      after = (page.next_cursor as string | null) ?? '';
    } while (after !== '');
    expect(seen).toEqual([...seen].sort().reverse());
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen.slice(0, 3)).toEqual(made.reverse());
  });

  it.each(['limit=0', 'limit=101', 'limit=x', 'limit=1.5', 'after=x', 'color=red', 'status=gone'])(
    'refuses the query %s',
    async (query) => {
      const answer = await plane.admin('GET', `tenants?${query}`);
      expect([answer.status, errorOf(answer).param]).toEqual([400, query.split('=')[0]]);
    },
  );

  describe('adjustments', () => {
    const fields = { amount_usd: '-0.25', reason_code: 'GOODWILL', description: 'a mistake of ours' };

    it('post once for one Idempotency-Key, in either direction', async () => {
      const id = await plane.newTenant({ initial_balance_usd: '1' });
      const headers = { 'idempotency-key': randomUUID() };
      const answers = await Promise.all(
        Array.from({ length: 8 }, () => plane.admin('POST', `tenants/${id}/adjustments`, fields, headers)),
      );
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]));
      expect(new Set(answers.map(({ body }) => body.id)).size).toBe(1);
      expect(answers[0]?.body).toMatchObject({ amount_usd: '-0.250000000', posted_usd: '0.750000000', version: '2' });
      const log = await plane.expectAdmin(200, 'GET', `audit-log?entity=tenant&entity_id=${id}`);
      const actions = (log.data as { action: string }[]).map(({ action }) => action);
      expect(actions).toEqual(['tenant.adjust', 'tenant.adjust', 'tenant.create']);
      const other = await plane.admin('POST', `tenants/${id}/adjustments`, { ...fields, amount_usd: '1' }, headers);
      expect([other.status, errorOf(other).param]).toEqual([409, 'Idempotency-Key']);
    });

    it.each([
      [{ amount_usd: 5 }, 'amount_usd'],
      [{ amount_usd: '0.000' }, 'amount_usd'],
      [{ amount_usd: '9000001' }, 'amount_usd'],
      [{ reason_code: 'no blanks' }, 'reason_code'],
      [{ description: '' }, 'description'],
      [{ actor: 'somebody else' }, 'actor'],
    ])('refuse %j', async (wrong, field) => {
      const id = await plane.newTenant();
      const headers = { 'idempotency-key': 'k' };
      const answer = await plane.admin('POST', `tenants/${id}/adjustments`, { ...fields, ...wrong }, headers);
      expect([answer.status, errorOf(answer).param]).toEqual([400, field]);
    });

    it('need an Idempotency-Key and a tenant', async () => {
      const id = await plane.newTenant();
      const without = await plane.admin('POST', `tenants/${id}/adjustments`, fields);
      expect([without.status, errorOf(without).param]).toEqual([400, 'Idempotency-Key']);
      const headers = { 'idempotency-key': 'k' };
      expect((await plane.admin('POST', `tenants/${newId()}/adjustments`, fields, headers)).status).toBe(404);
    });
  });
});
