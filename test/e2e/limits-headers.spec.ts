import { createPaidModel, type PaidModel } from '../factories/paid-model';
import { createApiKey, createTenant } from '../factories/tenants';
import { type GatewayStack, startGatewayStack } from '../support/gateway-stack';
import { openAiClient } from '../support/openai-caller';
import { type PlainAnswer, plainCall } from '../support/plain-call';

const MEASURES = ['requests', 'tokens'] as const;
const CHAT = { model: 'test-model', messages: [{ role: 'user', content: 'Hello' }], max_completion_tokens: 50 };

let stack: GatewayStack;
let paid: PaidModel;

beforeAll(async () => {
  stack = await startGatewayStack();
  const tenant = { daily_quota: 5, monthly_quota: null, timezone: 'UTC' };
  paid = await createPaidModel(stack.gateway, { baseUrl: `${stack.simulator.url}/v1`, tenant });
}, 120_000);
afterAll(() => stack.close(), 30_000);

async function keyWith(tenant: object, key: object = {}): Promise<string> {
  const unlimited = { daily_quota: null, monthly_quota: null, timezone: 'UTC' };
  const tenantId = await createTenant(stack.gateway, { ...unlimited, ...tenant });
  return (await createApiKey(stack.gateway, tenantId, key)).key;
}

function headersOf({ headers }: { headers: Headers }): Readonly<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const measure of MEASURES) {
    for (const what of ['limit', 'remaining', 'reset']) {
      const value = headers.get(`x-ratelimit-${what}-${measure}`);
      if (value !== null) found[`${what}-${measure}`] = value;
    }
  }
  return found;
}

function errorOf({ json }: PlainAnswer): Readonly<Record<string, unknown>> {
  return json?.error as Record<string, unknown>;
}

const aDuration = expect.stringMatching(/^(\d+h)?(\d+m)?\d+s$/) as string;
const withinAMinute = expect.stringMatching(/^(1m0s|\d{1,2}s)$/) as string;

describe('an answered call', () => {
  it('tells how many requests are left until when, whole or streamed', async () => {
    const { client } = openAiClient(stack.gateway, paid.key);
    for (const [stream, remaining] of [
      [false, '4'],
      [true, '3'],
      [false, '2'],
    ] as const) {
      const { response } = await client.chat.completions
        .create({ model: 'test-model', messages: [{ role: 'user', content: 'Hello' }], stream })
        .withResponse();
      expect(headersOf(response)).toEqual({
        'limit-requests': '5',
        'remaining-requests': remaining,
        'reset-requests': aDuration,
      });
    }
  });

  it('tells of the minute where fewer are left of it, and of tokens beside requests', async () => {
    const key = await keyWith({ daily_quota: 1_000, rpm_limit: 4, tpm_limit: 10_000 });
    const tokensLeft: number[] = [];
    for (const [stream, remaining] of [
      [false, '3'],
      [true, '2'],
    ] as const) {
      const answer = await plainCall(stack.gateway, key, { body: { ...CHAT, stream } });
      expect(answer.status).toBe(200);
      const headers = headersOf(answer);
      expect(headers).toEqual({
        'limit-requests': '4',
        'remaining-requests': remaining,
        'reset-requests': withinAMinute,
        'limit-tokens': '10000',
        'remaining-tokens': expect.stringMatching(/^\d+$/) as string,
        'reset-tokens': withinAMinute,
      });
      tokensLeft.push(Number(headers['remaining-tokens']));
    }
    // What was counted includes the call itself: its input and the 50 tokens that its answer may have.
    expect(tokensLeft[0]).toBeLessThanOrEqual(10_000 - 50);
    expect(tokensLeft[1]).toBeLessThan(tokensLeft[0] ?? 0);
  });

  it('tells nothing where there is no limit', async () => {
    const answer = await plainCall(stack.gateway, await keyWith({}), { body: CHAT });
    expect(answer.status).toBe(200);
    expect(headersOf(answer)).toEqual({});
  });
});

describe('a call that was admitted and fails', () => {
  it('tells what it was admitted under', async () => {
    const key = await keyWith({ rpm_limit: 4 });
    const answer = await plainCall(stack.gateway, key, { body: { ...CHAT, x_simulate: { fail: { status: 500 } } } });
    expect(answer.status).toBe(502);
    expect(headersOf(answer)).toEqual({
      'limit-requests': '4',
      'remaining-requests': '3',
      'reset-requests': withinAMinute,
    });
  });
});

describe('a refused call', () => {
  it('tells of a minute that is used up, and to come again within it', async () => {
    const key = await keyWith({ rpm_limit: 1 });
    expect((await plainCall(stack.gateway, key, { body: CHAT })).status).toBe(200);
    const refused = await plainCall(stack.gateway, key, { body: { ...CHAT, stream: true } });
    expect(refused.status).toBe(429);
    expect(errorOf(refused)).toMatchObject({ type: 'rate_limit_exceeded', code: 'TENANT_RPM_EXCEEDED', param: null });
    expect(headersOf(refused)).toEqual({
      'limit-requests': '1',
      'remaining-requests': '0',
      'reset-requests': withinAMinute,
    });
    const waitSeconds = Number(refused.headers.get('retry-after'));
    expect(waitSeconds).toBeGreaterThanOrEqual(1);
    expect(waitSeconds).toBeLessThanOrEqual(60);
    expect(refused.headers.get('x-should-retry')).toBe('true');
    const resetsAt = String(errorOf(refused).window_resets_at);
    expect(new Date(resetsAt).toISOString()).toBe(resetsAt);
    expect(errorOf(refused).message).toBe(
      `The account is at its limit of requests a minute: 1 of 1. There is room again at ${resetsAt}.`,
    );
  });

  it('tells of a day that is used up until its end, which is worth a wait only in its last minute', async () => {
    const key = await keyWith({ daily_quota: 1 });
    await plainCall(stack.gateway, key, { body: CHAT });
    const refused = await plainCall(stack.gateway, key, { body: CHAT, language: 'zh-CN' });
    expect([refused.status, errorOf(refused).code]).toEqual([429, 'QUOTA_DAILY_EXCEEDED']);
    expect(headersOf(refused)).toEqual({
      'limit-requests': '1',
      'remaining-requests': '0',
      'reset-requests': aDuration,
    });
    const waitSeconds = Number(refused.headers.get('retry-after'));
    expect(refused.headers.get('x-should-retry')).toBe(String(waitSeconds <= 60));
    const resetsAt = String(errorOf(refused).window_resets_at);
    expect(resetsAt).toMatch(/T00:00:00\.000Z$/);
    expect(errorOf(refused).message).toBe(`今日请求次数已用完：1/1。将于 ${resetsAt} 重置。`);
  });

  it('is not to be repeated where it has more tokens than a minute', async () => {
    const refused = await plainCall(stack.gateway, await keyWith({ tpm_limit: 40 }), { body: CHAT });
    expect([refused.status, errorOf(refused).code]).toEqual([429, 'TENANT_TPM_EXCEEDED']);
    expect(headersOf(refused)).toEqual({ 'limit-tokens': '40', 'remaining-tokens': '40' });
    expect(refused.headers.get('x-should-retry')).toBe('false');
    expect(refused.headers.get('retry-after')).toBeNull();
    expect(errorOf(refused)).not.toHaveProperty('window_resets_at');
  });

  it('is not to be repeated where the budget of its key is used up', async () => {
    const key = await keyWith({}, { budget_usd: '0.000001' });
    const refused = await plainCall(stack.gateway, key, { body: CHAT });
    expect([refused.status, errorOf(refused).code]).toEqual([402, 'QUOTA_BUDGET_EXCEEDED']);
    expect(errorOf(refused).message).toContain('0.000000000 of 0.000001000 USD');
    expect(headersOf(refused)).toEqual({});
    expect(refused.headers.get('x-should-retry')).toBe('false');
    expect(refused.headers.get('retry-after')).toBeNull();
  });

  it('tells until when a key may spend no more, from its first use', async () => {
    const key = await keyWith({}, { limit_5h_usd: '0.0003' });
    const before = Date.now();
    const spends = { ...CHAT, x_simulate: { completionTokens: 50 } };
    expect((await plainCall(stack.gateway, key, { body: spends })).status).toBe(200);
    const after = Date.now();
    // Alone it would fit.
    const refused = await plainCall(stack.gateway, key, { body: { ...CHAT, max_completion_tokens: 95 } });
    expect([refused.status, errorOf(refused).code]).toEqual([429, 'API_KEY_RATE_LIMIT_5H_EXCEEDED']);
    const firstUseMs = Date.parse(String(errorOf(refused).window_resets_at)) - 5 * 3_600_000;
    expect(firstUseMs).toBeGreaterThanOrEqual(before - 1_000);
    expect(firstUseMs).toBeLessThanOrEqual(after + 1_000);
    expect(refused.headers.get('x-should-retry')).toBe('false');
  });
});
