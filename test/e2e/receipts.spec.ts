import { Pool } from 'pg';
import { adminCall } from '../factories/admin-client';
import { createApiKey, createTenant } from '../factories/tenants';
import { createPrice } from '../factories/upstreams';
import type { Behaviour } from '../simulator/behaviour';
import { CostedCalls, exactUnits, nanoOf, type Receipt, usdOf } from '../support/costed-calls';
import { brokenInvariants } from '../support/gateway-stack';
import { openAiClient, traceIdOf } from '../support/openai-caller';

const GOOD: Behaviour = { text: 'one two three four five six', promptTokens: 100, completionTokens: 50 };
const HALF: Behaviour = { ...GOOD, endAt: 3 };
/** At 1 and 2 USD a million tokens. */
const CHARGED = 200_000n;
const UNKNOWN_ID = '0190f5d4-7a00-7000-8000-000000000000';

/** Total and lines of a committed receipt agree, to the last digit. */
function expectReplays({ lines, cost_usd: cost }: Receipt): void {
  expect(lines.reduce((sum, { amount_usd }) => sum + exactUnits(amount_usd), 0n)).toBe(exactUnits(cost ?? ''));
  expect(lines.filter(({ kind }) => kind === 'rounding')).toHaveLength(1);
}

describe('the receipt of a call', () => {
  let calls: CostedCalls;
  let tenantId: string;
  let key: string;

  beforeAll(async () => {
    calls = await CostedCalls.open();
    tenantId = await createTenant(calls.gateway);
    ({ key } = await createApiKey(calls.gateway, tenantId));
  }, 120_000);
  afterAll(() => calls.close());

  it('says what was asked for, who served it, how it was counted, and every step of the arithmetic', async () => {
    const { name } = await calls.model([GOOD]);
    const { traceId, headers } = await calls.call(key, name);
    const receipt = await calls.receipt(key, traceId);
    expect(receipt).toEqual({
      ...{ object: 'receipt', trace_id: traceId, status: 'committed', model: name, is_stream: false },
      ...{ provider_name: expect.any(String) as unknown, upstream_name: expect.any(String) as unknown },
      ...{ transaction_id: expect.any(String) as unknown, hold_usd: expect.any(String) as unknown },
      ...{ basis: 'provider', price_version: expect.any(String) as unknown, multiplier: '1.0' },
      ...{ tier_above_input_tokens: null, end_reason: 'complete', reason_code: null, error_code: null },
      lines: [
        {
          kind: 'tokens',
          bucket: 'input_uncached',
          tokens: 100,
          usd_per_mtok: '1.000000000',
          amount_usd: usdOf(100_000n),
        },
        { kind: 'tokens', bucket: 'output', tokens: 50, usd_per_mtok: '2.000000000', amount_usd: usdOf(100_000n) },
        { kind: 'rounding', amount_usd: usdOf(0n) },
      ],
      ...{ cost_usd: usdOf(CHARGED), net_cost_usd: usdOf(CHARGED), corrections: [] },
      funding: [{ account: 'wallet', amount_usd: usdOf(CHARGED) }],
      attempts: [
        {
          ...{ attempt: 1, status: 200, outcome: '200', is_served: true, paid_by: 'tenant' },
          ...{ upstream_name: receipt.upstream_name, provider_name: receipt.provider_name },
          ...{ ttft_ms: expect.any(Number) as unknown, duration_ms: expect.any(Number) as unknown },
          tokens: { input_uncached: 100, output: 50 },
        },
      ],
      client_request_id: null,
      ...{ created_at: expect.any(String) as unknown, ended_at: expect.any(String) as unknown },
    });
    expect(headers.get('x-tollgate-cost-usd')).toBe(receipt.cost_usd);
  });

  it('agrees with the header of a whole answer and with the comment before [DONE], and openai’s client finds it', async () => {
    const { name } = await calls.model([{ ...GOOD, promptTokens: 101 }]);
    const { client } = openAiClient(calls.gateway, key);
    const messages = [{ role: 'user', content: 'Hello' }] as const;
    const whole = await client.chat.completions.create({ model: name, messages: [...messages] }).withResponse();
    const receipt = await calls.receipt(key, whole.request_id ?? '');
    expect(whole.response.headers.get('x-tollgate-cost-usd')).toBe(receipt.cost_usd);
    expect(receipt.cost_usd).toBe(usdOf(201_000n));

    const streamed = await client.chat.completions
      .create({ model: name, messages: [...messages], stream: true })
      .withResponse();
    let text = '';
    for await (const chunk of streamed.data) text += chunk.choices[0]?.delta.content ?? '';
    expect(text).toBe(GOOD.text);
    expect(await calls.receipt(key, traceIdOf(streamed.response))).toMatchObject({
      is_stream: true,
      cost_usd: usdOf(201_000n),
    });

    const raw = await calls.call(key, name, { stream: true });
    const [, comment] = /\n: tollgate cost_usd=(\S+) balance_usd=\S+\n\ndata: \[DONE\]\n\n$/.exec(raw.text) ?? [];
    expect(comment).toBe((await calls.receipt(key, raw.traceId)).cost_usd);
  });

  it('of a broken stream says how it was counted, and why it ended', async () => {
    const { name } = await calls.model([HALF]);
    const { traceId } = await calls.call(key, name, { stream: true });
    const receipt = await calls.receipt(key, traceId);
    expect(receipt).toMatchObject({
      ...{ status: 'committed', basis: 'tokenizer', end_reason: 'upstream_broke', error_code: 'UPSTREAM_ERROR' },
      cost_usd: usdOf(14_000n),
    });
    expectReplays(receipt);
  });

  it('shows the tier and the multiplier it was charged by, and fractions of a nano-USD until the one rounding', async () => {
    const { name } = await calls.model([{ ...GOOD, promptTokens: 1_001, cachedTokens: 1 }]);
    await createPrice(calls.gateway, {
      model: name,
      input_usd_per_mtok: '0.05',
      cached_input_usd_per_mtok: '0.000000333',
      output_usd_per_mtok: '0.4',
      per_request_usd: '0.00001',
      tiers: [
        {
          above_input_tokens: 1_000,
          input_usd_per_mtok: '0.1',
          cached_input_usd_per_mtok: '0.000000333',
          output_usd_per_mtok: '0.8',
        },
      ],
    });
    const dearer = { tenant_id: tenantId, name: 'dearer', price_multiplier: '1.333333' };
    const group = (await adminCall(calls.gateway, 'POST', 'groups', dearer)) as { id: string };
    const { key: dear } = await createApiKey(calls.gateway, tenantId, { group_id: group.id });
    const { traceId } = await calls.call(dear, name);
    const receipt = await calls.receipt(key, traceId);
    // (1,000 × 100 + 0.000333 + 50 × 800 + 10,000) nano-USD × 1.333333 = 199,999.950443…
    expect(receipt).toMatchObject({
      ...{ multiplier: '1.333333', tier_above_input_tokens: 1_000, cost_usd: usdOf(200_000n) },
      lines: [
        { bucket: 'input_uncached', tokens: 1_000, usd_per_mtok: '0.100000000', amount_usd: usdOf(100_000n) },
        { bucket: 'input_cached', tokens: 1, amount_usd: '0.000000000000333' },
        { bucket: 'output', tokens: 50, usd_per_mtok: '0.800000000', amount_usd: usdOf(40_000n) },
        { kind: 'per_request', amount_usd: usdOf(10_000n) },
        { kind: 'multiplier', multiplier: '1.333333' },
        { kind: 'rounding' },
      ],
    });
    expectReplays(receipt);
  });

  it('shows which accounts paid', async () => {
    const poor = await createTenant(calls.gateway, { initial_balance_usd: '0.0001', credit_limit_usd: '0.00001' });
    const { key: poorKey } = await createApiKey(calls.gateway, poor);
    const { name } = await calls.model([{ ...GOOD, completionTokens: 50 }]);
    const { traceId, status } = await calls.call(poorKey, name, { max_tokens: 1 });
    expect(status).toBe(200);
    expect(await calls.receipt(poorKey, traceId)).toMatchObject({
      cost_usd: usdOf(CHARGED),
      funding: [
        { account: 'wallet', amount_usd: usdOf(110_000n) },
        { account: 'overrun', amount_usd: usdOf(90_000n) },
      ],
    });
  });

  it('follows what was given back, and keeps the names of an upstream that is gone', async () => {
    const { name, upstreamIds } = await calls.model([GOOD]);
    const { traceId } = await calls.call(key, name);
    const before = await calls.receipt(key, traceId);
    await calls.refund(String(before.transaction_id), { amount_usd: usdOf(50_000n), description: 'slow' });
    await adminCall(calls.gateway, 'DELETE', `upstreams/${upstreamIds[0] ?? ''}`);
    const after = await calls.receipt(key, traceId);
    const correction = { type: 'refund', amount_usd: usdOf(-50_000n), reason_code: 'GOODWILL' };
    expect(after).toMatchObject({ corrections: [correction], net_cost_usd: usdOf(150_000n) });
    const { corrections, net_cost_usd } = after;
    expect(after).toEqual({ ...before, corrections, net_cost_usd });
    expect(await calls.adminReceipt(traceId)).toMatchObject({
      upstream_id: upstreamIds[0],
      attempts: [{ upstream_id: null }],
    });
  });

  it('of a call that was refused says so, and by what', async () => {
    const { key: empty } = await createApiKey(
      calls.gateway,
      await createTenant(calls.gateway, { initial_balance_usd: '0' }),
    );
    const { name } = await calls.model([GOOD]);
    const { status, traceId } = await calls.call(empty, name);
    expect(status).toBe(402);
    expect(await calls.receipt(empty, traceId)).toMatchObject({
      ...{ status: 'refused', error_code: 'QUOTA_BALANCE_EXCEEDED', model: name, transaction_id: null },
      ...{ cost_usd: usdOf(0n), net_cost_usd: usdOf(0n), lines: [], funding: [], attempts: [], basis: null },
    });
  });

  it('of a repeated call says that it was not charged again, and what it cost the first time stays', async () => {
    const { name } = await calls.model([GOOD]);
    const again = { 'idempotency-key': 'receipts-once' };
    const first = await calls.call(key, name, {}, calls.gateway, again);
    const second = await calls.call(key, name, {}, calls.gateway, again);
    expect([second.status, second.text]).toEqual([200, first.text]);
    expect(second.traceId).not.toBe(first.traceId);
    expect(await calls.receipt(key, second.traceId)).toMatchObject({
      ...{ status: 'uncharged', end_reason: 'replayed', transaction_id: null, cost_usd: usdOf(0n), attempts: [] },
    });
    expect(await calls.receipt(key, first.traceId)).toMatchObject({ status: 'committed', cost_usd: usdOf(CHARGED) });
  });

  it('is the tenant’s alone, whichever of its keys asks', async () => {
    const { name } = await calls.model([GOOD]);
    const { traceId } = await calls.call(key, name);
    const receipt = await calls.receipt(key, traceId);
    const { key: second } = await createApiKey(calls.gateway, tenantId);
    expect(await (await calls.getReceipt(second, traceId)).json()).toEqual(receipt);
    const { key: stranger } = await createApiKey(calls.gateway, await createTenant(calls.gateway));
    const answers = await Promise.all([
      calls.getReceipt(stranger, traceId),
      calls.getReceipt(key, UNKNOWN_ID),
      calls.getReceipt(key, 'not-a-uuid'),
      calls.getReceipt('sk-tg-nobody', traceId),
    ]);
    const errors = await Promise.all(answers.map(async (answer) => ((await answer.json()) as { error: object }).error));
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 400, 401]);
    expect(errors).toMatchObject([{ code: 'NOT_FOUND' }, { code: 'NOT_FOUND' }, { param: 'trace_id' }, {}]);
    expect(JSON.stringify(receipt)).not.toContain('upstream_cost');
    await expect(adminCall(calls.gateway, 'GET', `receipts/${UNKNOWN_ID}`)).rejects.toThrow('404');
    await expect(adminCall(calls.gateway, 'GET', 'receipts/not-a-uuid')).rejects.toThrow('"param":"trace_id"');
  });

  it('summed up over all calls is what the ledger says of the day', async () => {
    const { name } = await calls.model([GOOD]);
    const broken = await calls.model([HALF]);
    for (const stream of [false, true]) await calls.call(key, name, { stream });
    const { traceId } = await calls.call(key, broken.name, { stream: true }, calls.strict);
    await calls.receipt(key, traceId);
    const pool = new Pool({ connectionString: calls.stack.databaseUrl, max: 1 });
    try {
      const { rows: charges } = await pool.query<{ trace_id: string }>(
        `select trace_id from billing_transaction where type = 'charge' and status <> 'PENDING'`,
      );
      const receipts = await Promise.all(charges.map(({ trace_id }) => calls.adminReceipt(trace_id)));
      for (const receipt of receipts.filter(({ status }) => status === 'committed')) expectReplays(receipt);
      const sumOf = (field: string): bigint => receipts.reduce((sum, row) => sum + nanoOf(String(row[field])), 0n);
      const { rows } = await pool.query<{ revenue: string; house: string; given: string }>(
        `select sum(case when c.name = 'revenue' then t.amount_nano_usd when d.name = 'revenue' then -t.amount_nano_usd
                    else 0 end) as revenue,
                sum(t.amount_nano_usd) filter (where t.kind = 'upstream_cost') as house,
                sum(t.amount_nano_usd) filter (where d.name = 'revenue') as given
           from ledger_transfer t
           join ledger_account d on d.id = t.debit_account_id
           join ledger_account c on c.id = t.credit_account_id
          where t.created_at >= date_trunc('day', now()) - interval '1 day'`,
      );
      expect(receipts.length).toBeGreaterThan(10);
      expect(BigInt(rows[0]?.given ?? 0)).toBe(50_000n);
      expect(sumOf('net_cost_usd')).toBe(BigInt(rows[0]?.revenue ?? 0));
      expect(sumOf('house_cost_usd')).toBe(BigInt(rows[0]?.house ?? 0));
      const margins = (await adminCall(calls.gateway, 'GET', 'margins?group_by=model')) as {
        totals: { margin_usd: string };
      };
      expect(nanoOf(margins.totals.margin_usd)).toBe(sumOf('margin_usd'));
    } finally {
      await pool.end();
    }
    expect(await brokenInvariants(calls.gateway)).toEqual([]);
  });
});
