import Anthropic from '@anthropic-ai/sdk';
import { createPaidModel, type PaidModel } from '../factories/paid-model';
import { createApiKey, createTenant } from '../factories/tenants';
import { createAnthropicProvider, createOpenAiProvider, createPrice, createUpstream } from '../factories/upstreams';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../support/gateway-stack';
import { plainCall, type PlainAnswer } from '../support/plain-call';

const CHAT = { model: 'test-model', messages: [{ role: 'user', content: 'Hello' }], max_completion_tokens: 50 };
const QUOTE = '/v1/quote';

let stack: GatewayStack;
let paid: PaidModel;

beforeAll(async () => {
  stack = await startGatewayStack();
  paid = await createPaidModel(stack.gateway, { baseUrl: `${stack.simulator.url}/v1` });
  await createUpstream(stack.gateway, { provider_id: paid.providerId, model: 'unpriced' });
}, 120_000);
afterAll(() => stack.close(), 30_000);

async function tenantWith(tenant: object, key: object = {}): Promise<{ tenantId: string; key: string }> {
  const unlimited = { daily_quota: null, monthly_quota: null, timezone: 'UTC' };
  const tenantId = await createTenant(stack.gateway, { ...unlimited, ...tenant });
  return { tenantId, key: (await createApiKey(stack.gateway, tenantId, key)).key };
}

const quote = (key: string, more: object = {}): Promise<PlainAnswer> =>
  plainCall(stack.gateway, key, { path: QUOTE, body: { ...CHAT, ...more } });
const call = (key: string, more: object = {}): Promise<PlainAnswer> =>
  plainCall(stack.gateway, key, { body: { ...CHAT, ...more } });

describe('the quote of a call that passes', () => {
  it('estimates what the call is then reserved for', async () => {
    const { tenantId, key } = await tenantWith({});
    const quoted = await quote(key, { n: 2 });
    expect(quoted.status).toBe(200);
    expect((await call(key, { n: 2 })).status).toBe(200);
    const [charge] = await stack.book.ofTenant(tenantId);
    const estimate = (Number(charge?.holdNanoUsd) / 1e9).toFixed(9);
    expect(quoted.json).toEqual({
      object: 'quote',
      model: 'test-model',
      passes: true,
      estimate_usd: estimate,
      estimated_tokens: { input: expect.any(Number) as number, output: 100 },
      funding: 'wallet',
      binding_limit: {
        scope: 'balance',
        measure: 'usd',
        limit: null,
        used: null,
        remaining: '10.000000000',
        resets_at: null,
      },
      refusal: null,
    });
  });

  it('changes nothing and calls no provider, however often it is asked', async () => {
    const { tenantId, key } = await tenantWith({ daily_quota: 3, rpm_limit: 3, initial_balance_usd: '1' });
    const served = stack.simulator.served().length;
    const answers = await Promise.all(Array.from({ length: 20 }, () => quote(key, { stream: true })));
    for (const { json, headers } of answers) {
      expect(json).toMatchObject({ passes: true, binding_limit: { used: 0, limit: 3, remaining: 3 } });
      expect(headers.get('x-ratelimit-remaining-requests')).toBe('3');
    }
    expect(stack.simulator.served()).toHaveLength(served);
    expect(await stack.book.ofTenant(tenantId)).toEqual([]);
    const answered = await call(key);
    expect([answered.status, answered.headers.get('x-ratelimit-remaining-requests')]).toEqual([200, '2']);
    expect((await quote(key)).json).toMatchObject({ binding_limit: { used: 1, remaining: 2 } });
    expect(await brokenInvariants(stack.gateway)).toEqual([]);
  });

  it('names the limit that the same call would reach first, with its use and reset', async () => {
    const { key } = await tenantWith({ daily_quota: 1_000, tpm_limit: 300 }, { budget_usd: '5' });
    const { json } = await quote(key);
    expect(json).toMatchObject({
      binding_limit: { scope: 'tenant_tpm', measure: 'tokens', limit: 300, used: 0, remaining: 300 },
    });
    const resetsAt = Date.parse(String((json?.binding_limit as Record<string, unknown>).resets_at));
    expect(Math.abs(resetsAt - Date.now() - 60_000)).toBeLessThan(5_000);
    const { key: poor } = await tenantWith({ daily_quota: 1_000 }, { budget_usd: '0.001' });
    expect((await quote(poor)).json).toMatchObject({
      passes: true,
      binding_limit: {
        scope: 'key_budget',
        measure: 'usd',
        limit: '0.001000000',
        used: '0.000000000',
        remaining: '0.001000000',
        resets_at: null,
      },
    });
  });
});

describe('the quote of a call of another route', () => {
  const TEXT = 'How many tokens would this be?';
  const BODIES: Readonly<Record<string, object>> = {
    '/v1/chat/completions': { messages: [{ role: 'user', content: TEXT }], max_completion_tokens: 40 },
    '/v1/messages': { messages: [{ role: 'user', content: TEXT }], max_tokens: 40 },
    '/v1/responses': { input: TEXT, max_output_tokens: 40 },
    '/v1/embeddings': { input: TEXT },
  };
  beforeAll(async () => {
    const { gateway, simulator } = stack;
    const [anthropic, openai] = await Promise.all([
      createAnthropicProvider(gateway, simulator.url),
      createOpenAiProvider(gateway, simulator.url),
    ]);
    await createUpstream(gateway, { provider_id: openai, model: 'quoted' });
    await createUpstream(gateway, { provider_id: anthropic, model: 'quoted-claude' });
    for (const model of ['quoted', 'quoted-claude']) await createPrice(gateway, { model });
  });

  it.each(Object.keys(BODIES))('estimates what the call is then reserved for: %s', async (path) => {
    const { tenantId, key } = await tenantWith({});
    const body = { model: path === '/v1/messages' ? 'quoted-claude' : 'quoted', ...BODIES[path] };
    const quoted = await plainCall(stack.gateway, key, { path: `${QUOTE}?route=${path}`, body });
    expect([quoted.status, quoted.json]).toMatchObject([200, { passes: true, model: body.model }]);
    expect(quoted.json).toMatchObject({ estimated_tokens: { output: path === '/v1/embeddings' ? 0 : 40 } });
    const called = await plainCall(stack.gateway, key, { path, body });
    expect([called.status, called.text.length > 0]).toEqual([200, true]);
    const [charge] = await stack.book.ofTenant(tenantId);
    expect(quoted.json?.estimate_usd).toBe((Number(charge?.holdNanoUsd) / 1e9).toFixed(9));
  });

  it('is of a message where Anthropic’s client asks', async () => {
    const { key } = await tenantWith({});
    const client = new Anthropic({ baseURL: stack.gateway.url, apiKey: key, authToken: null });
    const ask = (body: object): Promise<unknown> => client.post(QUOTE, { body });
    expect(await ask({ model: 'quoted-claude', ...BODIES['/v1/messages'] })).toMatchObject({ passes: true });
    await expect(ask({ model: 'quoted-claude', messages: [{ role: 'user', content: 'x' }] })).rejects.toThrow(
      'max_tokens',
    );
  });

  it.each(['/v1/models', 'chat', '', '/v1/chat/completions&route=/v1/messages'])(
    'refuses the route %p',
    async (route) => {
      const answer = await plainCall(stack.gateway, paid.key, { path: `${QUOTE}?route=${route}`, body: CHAT });
      expect([answer.status, answer.json?.error]).toMatchObject([400, { code: 'INVALID_REQUEST', param: 'route' }]);
    },
  );
});

describe('the quote of a call that would be refused', () => {
  it('says by which limit, until when, and with which error', async () => {
    const { key } = await tenantWith({ daily_quota: 1 });
    expect((await call(key)).status).toBe(200);
    const { status, json, headers } = await quote(key);
    const refused = await call(key);
    const error = refused.json?.error as Record<string, unknown>;
    expect(status).toBe(200);
    expect(headers.get('x-ratelimit-remaining-requests')).toBe('0');
    expect(json).toMatchObject({
      passes: false,
      funding: null,
      binding_limit: {
        scope: 'tenant_day',
        measure: 'requests',
        limit: 1,
        used: 1,
        remaining: 0,
        resets_at: error.window_resets_at,
      },
      refusal: { status: refused.status, code: error.code, type: error.type, message: error.message },
    });
    expect(error.code).toBe('QUOTA_DAILY_EXCEEDED');
  });

  it.each<[string, object, object, number, string, object]>([
    [
      'a balance that is too small',
      { initial_balance_usd: '0.000001' },
      {},
      402,
      'QUOTA_BALANCE_EXCEEDED',
      { scope: 'balance', limit: null, remaining: '0.000001000' },
    ],
    [
      'a budget that is too small',
      {},
      { budget_usd: '0.000002' },
      402,
      'QUOTA_BUDGET_EXCEEDED',
      { scope: 'key_budget', limit: '0.000002000', used: '0.000000000', remaining: '0.000002000', resets_at: null },
    ],
    [
      'more tokens than a minute has',
      { tpm_limit: 40 },
      {},
      429,
      'TENANT_TPM_EXCEEDED',
      { scope: 'tenant_tpm', measure: 'tokens', limit: 40, used: 0, remaining: 40, resets_at: null },
    ],
  ])('names %s', async (_, tenant, apiKey, status, code, limit) => {
    const { key } = await tenantWith(tenant, apiKey);
    expect((await quote(key)).json).toMatchObject({ passes: false, binding_limit: limit, refusal: { status, code } });
    const refused = await call(key);
    expect([refused.status, (refused.json?.error as Record<string, unknown>).code]).toEqual([status, code]);
  });
});

describe('a quote that cannot be given', () => {
  it.each<[string, object | string, string | undefined, number, string, string | null]>([
    ['a body that is no JSON', '{"model":', undefined, 400, 'INVALID_REQUEST', null],
    ['messages that are no list', { messages: 'Hello' }, undefined, 400, 'INVALID_REQUEST', 'messages'],
    ['a model without a price', { model: 'unpriced' }, undefined, 400, 'MODEL_NOT_PRICED', 'model'],
    ['an unknown key', {}, 'sk-tg-unknown', 401, 'INVALID_API_KEY', null],
    ['a model nobody serves', { model: 'nobody' }, undefined, 404, 'MODEL_NOT_FOUND', 'model'],
  ])('is the error that the call would meet: %s', async (_, more, key, status, code, param) => {
    const body = typeof more === 'string' ? more : { ...CHAT, ...more };
    const answer = await plainCall(stack.gateway, key ?? paid.key, { path: QUOTE, body });
    expect([answer.status, answer.json?.error]).toMatchObject([status, { code, param }]);
    const asked = await plainCall(stack.gateway, key ?? paid.key, { body });
    expect([asked.status, asked.json]).toEqual([answer.status, answer.json]);
    expect(Object.keys(answer.json?.error ?? {})).toEqual(['message', 'type', 'param', 'code']);
  });

  it('is not asked for by GET', async () => {
    const response = await fetch(`${stack.gateway.url}${QUOTE}`, { headers: { authorization: `Bearer ${paid.key}` } });
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'POST']);
  });

  it('refuses a model that the key may not use', async () => {
    const { key } = await tenantWith({}, { allowed_models: ['another'] });
    expect((await quote(key)).json?.error).toMatchObject({ code: 'MODEL_NOT_ALLOWED', param: 'model' });
  });
});

it('is documented', async () => {
  const response = await fetch(`${stack.gateway.url}/docs-json`);
  const { paths, components } = (await response.json()) as {
    paths: Record<string, { post?: { responses: Record<string, unknown> } }>;
    components: { schemas: Record<string, { properties: Record<string, unknown> }> };
  };
  expect(Object.keys(paths[QUOTE]?.post?.responses ?? {})).toEqual(
    expect.arrayContaining(['200', '400', '403', '503']),
  );
  expect(Object.keys(components.schemas.QuoteResponse?.properties ?? {})).toEqual(
    expect.arrayContaining(['passes', 'estimate_usd', 'binding_limit', 'refusal']),
  );
});
