import { adminCall } from '../factories/admin-client';
import { createApiKey, createTenant } from '../factories/tenants';
import type { Behaviour } from '../simulator/behaviour';
import { COSTS, CostedCalls, nanoOf, type Receipt, usdOf } from '../support/costed-calls';
import { brokenInvariants } from '../support/gateway-stack';

/** 8 prompt tokens by the tokenizer, six words. 100 and 50 are reported. */
const GOOD: Behaviour = { text: 'one two three four five six', promptTokens: 100, completionTokens: 50 };
const REPORTED = '"usage":{"prompt_tokens":40,"completion_tokens":10}';
const ERROR = '"error":{"message":"overloaded"}';
const CHARGED = 200_000n;
/** Of 100 and 50 tokens at the first upstream, and at the second. */
const SERVED_FIRST = 100n * COSTS[0].input + 50n * COSTS[0].output;
const SERVED_SECOND = 100n * COSTS[1].input + 50n * COSTS[1].output;
/** Of the 40 and 10 tokens that a failed attempt at the first upstream reports. */
const FAILED_FIRST = 40n * COSTS[0].input + 10n * COSTS[0].output;
/** Of 8 prompt tokens and three words. */
const HALF_FIRST = 8n * COSTS[0].input + 3n * COSTS[0].output;

interface Amounts {
  readonly charges: number;
  readonly [amount: `${string}_usd`]: string;
}

interface Margins {
  readonly data: readonly (Amounts & {
    readonly model?: string;
    readonly upstream_id?: string;
    readonly upstream_name?: string;
  })[];
  readonly totals: Amounts;
}

function amounts(charges: number, charged: bigint, credited: bigint, served: bigint, house: bigint): Amounts {
  return {
    charges,
    charged_usd: usdOf(charged),
    credited_usd: usdOf(credited),
    upstream_cost_usd: usdOf(served),
    house_cost_usd: usdOf(house),
    margin_usd: usdOf(charged - credited - served - house),
  };
}

describe('what calls cost the house', () => {
  let calls: CostedCalls;
  let tenantId: string;
  let key: string;

  beforeAll(async () => {
    calls = await CostedCalls.open();
  }, 120_000);
  afterAll(() => calls.close());
  beforeEach(async () => {
    tenantId = await createTenant(calls.gateway);
    ({ key } = await createApiKey(calls.gateway, tenantId));
  });
  afterEach(async () => {
    expect(await brokenInvariants(calls.gateway)).toEqual([]);
  });

  async function margins(groupBy: 'model' | 'upstream', more = ''): Promise<Margins> {
    const path = `margins?group_by=${groupBy}&tenant_id=${tenantId}${more}`;
    return (await adminCall(calls.gateway, 'GET', path)) as Margins;
  }

  /** A call whose first upstream fails so, and whose second serves. */
  async function failover(
    first: Behaviour,
    stream: boolean,
  ): Promise<{ receipt: Receipt; name: string; ids: readonly string[] }> {
    const { name, upstreamIds } = await calls.model([first, GOOD]);
    // The one that breaks the total deadline soon.
    const { status, traceId } = await calls.call(key, name, { stream }, calls.strict);
    expect(status).toBe(200);
    await calls.receipt(key, traceId);
    return { receipt: await calls.adminReceipt(traceId), name, ids: upstreamIds };
  }

  const FAILURES: readonly (readonly [string, Behaviour, boolean, number | null, string])[] = [
    ['an error status with a usage', { fail: { status: 500, body: `{${ERROR},${REPORTED}}` } }, false, 500, '500'],
    ['an error status with a usage', { fail: { status: 503, body: `{${ERROR},${REPORTED}}` } }, true, 503, '503'],
    ['an error in a 200 with a usage', { body: `{${ERROR},${REPORTED}}` }, false, 200, 'reset'],
    ['a body that is no answer', { body: `[{${REPORTED}}]` }, false, 200, 'reset'],
    [
      'a body that breaks off after its usage',
      { body: `{${REPORTED},"choices":[{"message":{"content":"one two`, sliceBytes: [80], resetAt: 1 },
      false,
      200,
      'reset',
    ],
    [
      'an error event with a usage, before a byte was sent',
      { body: `data: {${ERROR},${REPORTED}}\n\n` },
      true,
      200,
      'reset',
    ],
    [
      'an error event after a usage, before a byte was sent',
      { body: `data: {"choices":[],${REPORTED}}\n\ndata: {${ERROR}}\n\n` },
      true,
      200,
      'reset',
    ],
  ];

  it.each(FAILURES)('%s: the house pays the attempt, the tenant the one that served (%#)', async (...row) => {
    const [, behaviour, stream, status, outcome] = row;
    const { receipt, name, ids } = await failover(behaviour, stream);
    expect(receipt).toMatchObject({
      status: 'committed',
      cost_usd: usdOf(CHARGED),
      upstream_cost_usd: usdOf(SERVED_SECOND),
      house_cost_usd: usdOf(FAILED_FIRST),
      margin_usd: usdOf(CHARGED - SERVED_SECOND - FAILED_FIRST),
      attempts: [
        {
          ...{ attempt: 1, upstream_id: ids[0], status, outcome, is_served: false, paid_by: 'house' },
          ...{ tokens: { input_uncached: 40, output: 10 }, upstream_cost_usd: usdOf(FAILED_FIRST) },
        },
        {
          ...{ attempt: 2, upstream_id: ids[1], status: 200, is_served: true, paid_by: 'tenant' },
          ...{ tokens: { input_uncached: 100, output: 50 }, upstream_cost_usd: usdOf(SERVED_SECOND) },
        },
      ],
    });
    const expected = amounts(1, CHARGED, 0n, SERVED_SECOND, FAILED_FIRST);
    const byModel = await margins('model');
    expect(byModel).toMatchObject({ data: [{ model: name, ...expected }], totals: expected });
    const byUpstream = await margins('upstream');
    expect(byUpstream).toMatchObject({
      data: [
        { upstream_id: ids[1], ...amounts(1, CHARGED, 0n, SERVED_SECOND, 0n) },
        { upstream_id: ids[0], ...amounts(0, 0n, 0n, 0n, FAILED_FIRST) },
      ],
      totals: expected,
    });
  });

  it('an attempt that reported nothing costs nobody anything', async () => {
    const { receipt } = await failover({ fail: { status: 500 } }, false);
    expect(receipt).toMatchObject({ house_cost_usd: usdOf(0n), attempts: [{ paid_by: 'nobody', tokens: null }, {}] });
  });

  it('where every attempt fails the charge is voided and the house pays what they reported', async () => {
    const { name, upstreamIds } = await calls.model([
      { fail: { status: 500, body: `{${ERROR},${REPORTED}}` } },
      { body: `{${ERROR},${REPORTED}}` },
    ]);
    const { status, traceId } = await calls.call(key, name);
    expect(status).toBe(502);
    expect(await calls.receipt(key, traceId)).toMatchObject({
      ...{ status: 'voided', reason_code: 'UPSTREAM_ERROR', error_code: 'UPSTREAM_ERROR', cost_usd: usdOf(0n) },
      ...{ net_cost_usd: usdOf(0n), lines: [], funding: [] },
    });
    const house = FAILED_FIRST + 40n * COSTS[1].input + 10n * COSTS[1].output;
    expect(await calls.adminReceipt(traceId)).toMatchObject({
      house_cost_usd: usdOf(house),
      margin_usd: usdOf(-house),
    });
    expect(await margins('model')).toMatchObject({ data: [{ model: name, ...amounts(0, 0n, 0n, 0n, house) }] });
    const { data } = await margins('upstream');
    expect(data.map(({ upstream_id }) => upstream_id).sort()).toEqual([...upstreamIds].sort());
  });

  it('a total timeout midway costs the house what had been reported by then', async () => {
    const { name } = await calls.model([{ body: `{${REPORTED},"choices":[`, sliceBytes: [80], hangAt: 1 }]);
    const { status, traceId } = await calls.call(key, name, {}, calls.strict);
    expect(status).toBe(504);
    await calls.receipt(key, traceId);
    expect(await calls.adminReceipt(traceId)).toMatchObject({ status: 'voided', house_cost_usd: usdOf(FAILED_FIRST) });
  });

  it('a broken stream that policy makes free costs the house what was delivered', async () => {
    const { name, upstreamIds } = await calls.model([{ ...GOOD, endAt: 3 }]);
    const { traceId } = await calls.call(key, name, { stream: true }, calls.strict);
    expect(await calls.receipt(key, traceId)).toMatchObject({
      ...{ status: 'voided', reason_code: 'BROKEN_STREAM', end_reason: 'upstream_broke', cost_usd: usdOf(0n) },
      attempts: [{ is_served: true, paid_by: 'house', outcome: 'upstream_broke' }],
    });
    expect(await margins('upstream')).toMatchObject({
      data: [{ upstream_id: upstreamIds[0], ...amounts(0, 0n, 0n, 0n, HALF_FIRST) }],
    });
  });

  it('the same broken stream where it is charged is the tenant’s, and nothing is the house’s', async () => {
    const { name } = await calls.model([{ ...GOOD, endAt: 3 }]);
    const { traceId } = await calls.call(key, name, { stream: true });
    await calls.receipt(key, traceId);
    // 8 × 1,000 + 3 × 2,000
    expect(await margins('model')).toMatchObject({ totals: amounts(1, 14_000n, 0n, HALF_FIRST, 0n) });
  });

  it('an answer that its guard cut costs us all that the provider had written, whatever of it is charged', async () => {
    const frame = (delta: object, more: object = {}): string =>
      JSON.stringify({ id: 'c', object: 'chat.completion.chunk', choices: [{ index: 0, delta }], ...more });
    // Thought at length before a word was said: far more than the hold has.
    const usage = {
      prompt_tokens: 8,
      completion_tokens: 5_000,
      completion_tokens_details: { reasoning_tokens: 4_999 },
    };
    const words = ['two', 'three', 'four'].map((word) => frame({ content: ` ${word}` }));
    const frames = [frame({ role: 'assistant' }), frame({ content: 'one' }, { usage }), ...words];
    const { name } = await calls.model([{ frames }]);
    tenantId = await createTenant(calls.gateway, { initial_balance_usd: '0.00026', free_allowances: { chat: 0 } });
    ({ key } = await createApiKey(calls.gateway, tenantId));
    const { traceId } = await calls.call(key, name, { stream: true, max_completion_tokens: 100 });
    const receipt = await calls.receipt(key, traceId);
    expect(receipt).toMatchObject({ status: 'committed', end_reason: 'guard_cut' });
    const charged = nanoOf(receipt.cost_usd ?? '');
    expect(charged).toBeLessThanOrEqual(260_000n);
    const used = 8n * COSTS[0].input + 5_000n * COSTS[0].output;
    expect(await margins('model')).toMatchObject({ totals: amounts(1, charged, 0n, used, 0n) });
    expect(receipt.attempts).toMatchObject([{ tokens: { input_uncached: 8, output: 1, reasoning: 4_999 } }]);
  });

  it('counts what was given back, and only of the range, the tenant and the models asked for', async () => {
    const { name } = await calls.model([GOOD]);
    const [first, second] = [await calls.call(key, name), await calls.call(key, name)];
    await calls.receipt(key, second.traceId);
    const { transaction_id: whole } = await calls.receipt(key, first.traceId);
    const { transaction_id: part } = await calls.receipt(key, second.traceId);
    await calls.refund(String(whole), {});
    await calls.refund(String(part), { amount_usd: usdOf(30_000n) });
    const expected = amounts(2, 2n * CHARGED, CHARGED + 30_000n, 2n * SERVED_FIRST, 0n);
    expect(await margins('model')).toMatchObject({ data: [{ model: name, ...expected }], totals: expected });
    const before = '&from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z';
    expect(await margins('model', before)).toMatchObject({ data: [], totals: amounts(0, 0n, 0n, 0n, 0n) });
  });

  it('names an upstream that is gone as its charges do', async () => {
    const { name, upstreamIds } = await calls.model([GOOD]);
    await calls.receipt(key, (await calls.call(key, name)).traceId);
    const before = await margins('upstream');
    await adminCall(calls.gateway, 'DELETE', `upstreams/${upstreamIds[0] ?? ''}`);
    expect(before.data[0]?.upstream_name).toEqual(expect.any(String));
    const { data, totals } = await margins('upstream');
    expect({ data, totals }).toEqual({ data: before.data, totals: before.totals });
  });

  it.each([
    ['group_by=tenant', 'group_by'],
    ['group_by=model&from=2026-01-01T00:00:00Z&to=2025-01-01T00:00:00Z', 'from'],
    ['group_by=model&from=2026-01-01T00:00:00Z&to=2026-12-01T00:00:00Z', 'from'],
    ['group_by=model&from=yesterday', 'from'],
    ['group_by=model&tenant_id=x', 'tenant_id'],
  ])('refuses %s', async (query, param) => {
    await expect(adminCall(calls.gateway, 'GET', `margins?${query}`)).rejects.toThrow(`"param":"${param}"`);
  });
});
