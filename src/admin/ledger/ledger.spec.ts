import { ControlPlane, errorOf, textOf } from '../../../test/support/control-plane-harness';
import { newId } from '../../kernel/ids';

describe('the ledger as the control plane shows it', () => {
  let plane: ControlPlane;

  beforeAll(async () => {
    plane = await ControlPlane.start();
  });
  afterAll(() => plane.stop());

  async function insertCharge(
    tenantId: string,
    status: 'PENDING' | 'COMMITTED' | 'VOIDED',
    nanoUsd: number,
  ): Promise<string> {
    const traceId = newId();
    await plane.query(
      `insert into billing_transaction (id, tenant_id, trace_id, type, status, channel, hold_nano_usd, amount_nano_usd,
                                        model, tokens_output, ended_at)
         values ($1, $2, $3, 'charge', $4, 'external', $5, $6, 'gpt-x', 7, $7)`,
      [
        newId(),
        tenantId,
        traceId,
        status,
        nanoUsd,
        status === 'COMMITTED' ? nanoUsd : 0,
        status === 'PENDING' ? null : new Date(),
      ],
    );
    return traceId;
  }

  it('sums totals over everything the filters let through, whatever the page', async () => {
    const tenantId = await plane.newTenant();
    await insertCharge(tenantId, 'COMMITTED', 1_000);
    await insertCharge(tenantId, 'COMMITTED', 2_000);
    await insertCharge(tenantId, 'VOIDED', 500);
    const traceId = await insertCharge(tenantId, 'PENDING', 300);
    const totals = { count: 4, amount_usd: '0.000003000', held_usd: '0.000000300', refunded_usd: '0.000000000' };
    const seen: unknown[] = [];
    let after = '';
    do {
      const page = await plane.expectAdmin(200, 'GET', `transactions?tenant_id=${tenantId}&limit=3${after}`);
      expect(page.totals).toEqual(totals);
      seen.push(...(page.data as unknown[]));
      after = page.next_cursor === null ? '' : `&after=${textOf(page, 'next_cursor')}`;
    } while (after !== '');
    expect(seen).toHaveLength(4);
    expect(seen[0]).toMatchObject({ status: 'PENDING', trace_id: traceId, model: 'gpt-x', tokens: { output: 7 } });
    const one = await plane.expectAdmin(200, 'GET', `transactions?trace_id=${traceId}&tenant_id=${tenantId}`);
    expect(one).toMatchObject({ totals: { count: 1 }, has_more: false, next_cursor: null });
    const none = await plane.expectAdmin(200, 'GET', `transactions?tenant_id=${tenantId}&model=other&status=COMMITTED`);
    expect(none).toMatchObject({ data: [], totals: { count: 0, amount_usd: '0.000000000' } });
    const whole = await plane.expectAdmin(200, 'GET', 'transactions?limit=2');
    expect(whole).toMatchObject({ totals: null, has_more: true });
    expect(
      await plane.expectAdmin(200, 'GET', `transactions?model=gpt-x&after=${textOf(whole, 'next_cursor')}`),
    ).toMatchObject({
      totals: null,
      data: expect.arrayContaining([expect.objectContaining({ model: 'gpt-x' })]) as unknown,
    });
    const id = textOf(seen[0] as Record<string, unknown>, 'id');
    expect(await plane.expectAdmin(200, 'GET', `transactions/${id}`)).toEqual({
      ...(seen[0] as object),
      arithmetic: null,
    });
  });

  it('counts open holds of living processes against what is available', async () => {
    const tenantId = await plane.newTenant({ initial_balance_usd: '1', credit_limit_usd: '2' });
    await insertCharge(tenantId, 'PENDING', 250_000_000);
    const { key } = await plane.newKey(tenantId);
    const balance = {
      posted_usd: '1.000000000',
      credit_limit_usd: '2.000000000',
      held_usd: '0.250000000',
      available_usd: '2.750000000',
    };
    expect(await plane.expectAdmin(200, 'GET', `tenants/${tenantId}`)).toMatchObject({ balance });
    const own = await plane.call('GET', '/v1/balance', undefined, { 'x-api-key': key });
    expect(own.body).toEqual({ object: 'balance', ...balance });
  });

  it('shows each double entry, and the house’s balance as their sum', async () => {
    const accountsBefore = await plane.expectAdmin(200, 'GET', 'ledger/accounts?limit=100');
    const tenantId = await plane.newTenant({ initial_balance_usd: '3' });
    await plane.expectAdmin(201, 'POST', `tenants/${tenantId}/adjustments`, {
      amount_usd: '-1',
      reason_code: 'FEE',
      description: 'a fee',
    });
    const transfers = await plane.expectAdmin(200, 'GET', `ledger/transfers?tenant_id=${tenantId}`);
    const { data: mine } = await plane.expectAdmin(200, 'GET', `ledger/accounts?tenant_id=${tenantId}`);
    const wallet = (mine as { id: string; name: string }[]).find(({ name }) => name === 'wallet');
    expect(wallet).toMatchObject({ posted_usd: '2.000000000', version: '2' });
    expect(transfers).toMatchObject({
      data: [
        {
          kind: 'adjustment',
          amount_usd: '1.000000000',
          debit_account_id: wallet?.id,
          debit_version: '2',
          reason_code: 'FEE',
        },
        { kind: 'adjustment', amount_usd: '3.000000000', credit_account_id: wallet?.id, credit_version: '1' },
      ],
    });
    const accountsAfter = await plane.expectAdmin(200, 'GET', 'ledger/accounts?limit=100');
    expect(nanoOf(accountsAfter, 'adjustment') - nanoOf(accountsBefore, 'adjustment')).toBe(-2_000_000_000n);
    const all = accountsAfter.data as { posted_usd: string }[];
    expect(all.reduce((sum, { posted_usd }) => sum + toNano(posted_usd), 0n)).toBe(0n);
    const byAccount = await plane.expectAdmin(200, 'GET', `ledger/transfers?account_id=${wallet?.id ?? ''}&limit=1`);
    expect(byAccount.has_more).toBe(true);
    const next = await plane.expectAdmin(
      200,
      'GET',
      `ledger/transfers?account_id=${wallet?.id ?? ''}&limit=1&after=${textOf(byAccount, 'next_cursor')}`,
    );
    expect(next).toMatchObject({ has_more: false, data: [{ amount_usd: '3.000000000' }] });
  });

  it('finds the transfers of a house account, and of a tenant only where the account is its own', async () => {
    const tenantId = await plane.newTenant({ initial_balance_usd: '4' });
    const houses = await plane.expectAdmin(200, 'GET', 'ledger/accounts?limit=100');
    const idOf = (name: string): string => {
      const found = (houses.data as { id: string; name: string; tenant_id: string | null }[]).find(
        (account) => account.name === name && account.tenant_id === null,
      );
      return found?.id ?? '';
    };
    const list = (filters: string) => plane.expectAdmin(200, 'GET', `ledger/transfers?${filters}`);
    expect(await list(`account_id=${idOf('adjustment')}&limit=1`)).toMatchObject({
      has_more: true,
      data: [{ amount_usd: '4.000000000', debit_account_id: idOf('adjustment'), debit_version: null }],
    });
    expect((await list(`account_id=${idOf('adjustment')}&tenant_id=${tenantId}`)).data).toHaveLength(1);
    expect((await list(`account_id=${idOf('write_off')}&tenant_id=${tenantId}`)).data).toEqual([]);
    expect((await list(`account_id=${idOf('write_off')}`)).data).toEqual([]);
    expect((await list(`tenant_id=${newId()}`)).data).toEqual([]);
  });

  it.each(['transactions?tenant_id=x', 'transactions?status=DONE', 'ledger/transfers?after=-1', 'request-logs?foo=1'])(
    'refuses %s and names the parameter',
    async (path) => {
      const answer = await plane.admin('GET', path);
      expect([answer.status, errorOf(answer).param]).toEqual([400, /\?(\w+)=/.exec(path)?.[1]]);
    },
  );

  it('writes an adjustment into the audit log', async () => {
    const tenantId = await plane.newTenant({ initial_balance_usd: '1' });
    const log = await plane.expectAdmin(200, 'GET', `audit-log?entity=tenant&entity_id=${tenantId}`);
    expect(log).toMatchObject({
      data: [
        { action: 'tenant.adjust', after: { amount_usd: '1.000000000', reason_code: 'INITIAL_BALANCE' } },
        { action: 'tenant.create', before: null, after: { name: 'Acme', daily_quota: 1000 } },
      ],
    });
  });
});

function toNano(usd: string): bigint {
  return BigInt(usd.replace('.', ''));
}

function nanoOf(page: Readonly<Record<string, unknown>>, name: string): bigint {
  const accounts = page.data as { tenant_id: string | null; name: string; posted_usd: string }[];
  return toNano(accounts.find((account) => account.tenant_id === null && account.name === name)?.posted_usd ?? '0');
}
