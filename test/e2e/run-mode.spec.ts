import { adminCall } from '../factories/admin-client';
import { createPaidModel, type PaidModel } from '../factories/paid-model';
import { createApiKey, createTenant } from '../factories/tenants';
import { createUpstream } from '../factories/upstreams';
import { eventually } from '../support/eventually';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../support/gateway-stack';
import { traceIdOf } from '../support/openai-caller';
import { metricOf, plainCall, type PlainAnswer } from '../support/plain-call';

const CHAT = {
  model: 'test-model',
  messages: [{ role: 'user', content: 'Hello' }],
  x_simulate: { promptTokens: 90, cachedTokens: 40, tokens: 7 },
};

interface LoggedCall {
  readonly id: string;
  readonly status: number;
  readonly usage: unknown;
}

let stack: GatewayStack;
let paid: PaidModel;

beforeAll(async () => {
  stack = await startGatewayStack([{ RUN_MODE: 'simple' }]);
  paid = await createPaidModel(stack.gateway, {
    baseUrl: `${stack.simulator.url}/v1`,
    tenant: { initial_balance_usd: '0.000001', daily_quota: 0, rpm_limit: 0 },
    price: { input_usd_per_mtok: '1', cached_input_usd_per_mtok: '0.5', output_usd_per_mtok: '2' },
  });
  await createUpstream(stack.gateway, { provider_id: paid.providerId, model: 'unpriced' });
}, 120_000);
afterAll(() => stack.close(), 30_000);

const call = (more: object = {}): Promise<PlainAnswer> =>
  plainCall(stack.gateway, paid.key, { body: { ...CHAT, ...more } });

function logged(answer: PlainAnswer): Promise<LoggedCall> {
  return eventually('the call is in the request log', async () => {
    const { data } = (await adminCall(stack.gateway, 'GET', 'request-logs')) as { data: LoggedCall[] };
    return data.find(({ id }) => id === traceIdOf(answer));
  });
}

describe('RUN_MODE=simple', () => {
  it.each([false, true])('answers what no limit and no balance covers (stream: %s)', async (stream) => {
    const answer = await call({ stream });
    expect(answer.status).toBe(200);
    if (stream) expect(answer.text).toMatch(/data: \[DONE\]\n\n$/);
    expect(answer.text).not.toContain('cost_usd');
    for (const header of ['x-tollgate-cost-usd', 'x-tollgate-balance-usd', 'x-ratelimit-limit-requests']) {
      expect(answer.headers.get(header)).toBeNull();
    }
  });

  it('asks the model that stands in where nobody answers for one', async () => {
    await createUpstream(stack.gateway, { provider_id: paid.providerId, model: 'down' });
    await adminCall(stack.gateway, 'PUT', 'model-fallbacks/down', { fallback_models: [paid.model] });
    stack.simulator.script('down', { fail: { status: 500 } });
    const answer = await call({ model: 'down' });
    expect([answer.status, answer.json?.model]).toEqual([200, 'down']);
    expect(answer.headers.get('x-tollgate-model')).toBe(paid.model);
    expect(answer.headers.get('x-tollgate-fallback-from')).toBe('down');
    expect((await logged(answer)).usage).toMatchObject({ cost_usd: '0.000084000' });
  });

  it.each([false, true])('keeps in the request log what was used and what it is worth (stream: %s)', async (stream) => {
    const { status, usage } = await logged(await call({ stream }));
    expect([status, usage]).toEqual([
      200,
      {
        tokens: { input_uncached: 50, input_cached: 40, output: 7 },
        counting_method: 'usage',
        price_version: expect.stringMatching(/^\d+$/) as string,
        // 50 × 1 + 40 × 0.5 + 7 × 2 USD a million
        cost_usd: '0.000084000',
      },
    ]);
  });

  it('serves a model without a price, worth nothing', async () => {
    const { usage } = await logged(await call({ model: 'unpriced' }));
    expect(usage).toMatchObject({ price_version: null, cost_usd: '0.000000000', tokens: { output: 7 } });
  });

  it('logs no usage for a call that fails', async () => {
    const answer = await call({ x_simulate: { fail: { status: 500 } } });
    expect(answer.status).toBe(502);
    expect(await logged(answer)).toMatchObject({ status: 502, usage: null });
  });

  it('charges nothing, holds nothing and asks Redis nothing', async () => {
    // The tenant's first credit was projected, when it was made.
    const scripts = await metricOf(stack.gateway, 'redis_lua_duration_seconds_count');
    await call();
    expect(await stack.book.ofTenant(paid.tenantId)).toEqual([]);
    expect(await stack.book.walletNanoUsd(paid.tenantId)).toBe(1_000n);
    expect(await metricOf(stack.gateway, 'redis_lua_duration_seconds_count')).toEqual(scripts);
    expect([...scripts.keys()]).not.toContain('{script="quota_deduct"}');
    expect(await metricOf(stack.gateway, 'quota_check_passed_total')).toEqual(new Map([['', 0]]));
    expect(await metricOf(stack.gateway, 'billing_deduct_success_total')).toEqual(new Map([['', 0]]));
    expect(await brokenInvariants(stack.gateway)).toEqual([]);
  });

  it('still knows who may call', async () => {
    expect((await plainCall(stack.gateway, 'sk-tg-unknown', { body: CHAT })).status).toBe(401);
    const tenantId = await createTenant(stack.gateway);
    const { key } = await createApiKey(stack.gateway, tenantId, { allowed_models: ['another'] });
    expect((await plainCall(stack.gateway, key, { body: CHAT })).status).toBe(403);
  });

  it('quotes that every call passes', async () => {
    const { json } = await plainCall(stack.gateway, paid.key, { path: '/v1/quote', body: CHAT });
    expect(json).toMatchObject({ passes: true, funding: null, binding_limit: null, refusal: null });
  });

  it('says so when it starts', () => {
    expect(stack.gateway.logs()).toContain('RUN_MODE is simple');
  });
});
