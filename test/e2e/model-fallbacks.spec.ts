import { adminCall } from '../factories/admin-client';
import { createApiKey, createTenant } from '../factories/tenants';
import { createAnthropicProvider, createPrice, createProvider, createUpstream } from '../factories/upstreams';
import type { Behaviour } from '../simulator/behaviour';
import { anthropicClient } from '../support/anthropic-caller';
import { type BookedCharge } from '../support/charge-book';
import { eventually } from '../support/eventually';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../support/gateway-stack';
import { newKey } from '../support/keyed-call';
import { metricOf } from '../support/plain-call';

const ANSWER: Behaviour = { text: 'Hi there.', promptTokens: 6, completionTokens: 3 };
/** Reported by an attempt that failed: it costs the house 40 × 3 + 10 × 5 nano-USD a thousandth of a USD a million. */
const FAILED: Behaviour = {
  fail: { status: 500, body: '{"error":{"message":"down"},"usage":{"prompt_tokens":40,"completion_tokens":10}}' },
};
const FAILED_COST_NANO_USD = 40n * 300n + 10n * 500n;
/** 6 × 3,000 + 3 × 4,000 nano-USD at 3 and 4 USD a million tokens: the price of the model that stands in. */
const CHARGED_NANO_USD = 30_000n;
const TEN_USD = 10_000_000_000n;

describe('a model that another one stands in for', () => {
  let stack: GatewayStack;
  let providerId: string;
  let made = 0;

  beforeAll(async () => {
    // The second leaves an upstream alone after three failures, the first asks it again whatever it answers.
    stack = await startGatewayStack([{ UPSTREAM_BREAKER_FAILURES: '0' }, { UPSTREAM_BREAKER_FAILURES: '3' }]);
    providerId = await createProvider(stack.gateway, { base_url: `${stack.simulator.url}/v1` });
  }, 120_000);

  afterAll(() => stack.close(), 30_000);

  beforeEach(() => {
    stack.simulator.reset();
  });

  afterEach(async () => {
    expect(await brokenInvariants(stack.gateway)).toEqual([]);
  });

  /** A model with an upstream of its own name at the provider, which behaves so. */
  async function model(behaviour: Behaviour, fields: object = {}): Promise<string> {
    made += 1;
    const name = `model ${made}`;
    await createUpstream(stack.gateway, {
      ...{ provider_id: providerId, model: name, name: `upstream of ${name}` },
      ...{ cost_input_usd_per_mtok: '0.3', cost_output_usd_per_mtok: '0.5' },
      ...fields,
    });
    await createPrice(stack.gateway, { model: name, input_usd_per_mtok: '3', output_usd_per_mtok: '4' });
    stack.simulator.script(name, behaviour);
    return name;
  }

  async function standsIn(fallback_models: readonly string[], forModel: string): Promise<void> {
    await adminCall(stack.gateway, 'PUT', `model-fallbacks/${encodeURIComponent(forModel)}`, { fallback_models });
  }

  async function tenant(fields: object = {}, key: object = {}): Promise<{ tenantId: string; key: string }> {
    const tenantId = await createTenant(stack.gateway, { daily_quota: null, monthly_quota: null, ...fields });
    return { tenantId, key: (await createApiKey(stack.gateway, tenantId, key)).key };
  }

  function ask(
    key: string,
    body: object,
    headers: Readonly<Record<string, string>> = {},
    gateway = stack.gateway,
  ): Promise<Response> {
    return fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ messages: [{ role: 'user', content: 'Hello' }], max_tokens: 20, ...body }),
    });
  }

  async function endedOf(tenantId: string, count: number): Promise<readonly BookedCharge[]> {
    return eventually(`${count} charges have ended`, async () => {
      const charges = await stack.book.ofTenant(tenantId);
      return charges.length === count && charges.every(({ status }) => status !== 'PENDING') ? charges : undefined;
    });
  }

  async function logged(tenantId: string, count: number): Promise<readonly Record<string, unknown>[]> {
    return eventually(`${count} rows are in the request log`, async () => {
      const path = `request-logs?tenant_id=${tenantId}`;
      const { data } = (await adminCall(stack.gateway, 'GET', path)) as { data: Record<string, unknown>[] };
      return data.length === count ? data.toReversed() : undefined;
    });
  }

  it.each([false, true])(
    'is served by it: its price alone is charged, the house pays what failed (stream: %s)',
    async (stream) => {
      const down = await model(FAILED);
      const up = await model(ANSWER);
      await standsIn([up], down);
      const { tenantId, key } = await tenant();
      const answer = await ask(key, { model: down, stream });
      const text = await answer.text();
      expect(answer.status).toBe(200);
      expect(text).toContain(`"model":"${down}"`);
      expect(text).not.toContain(up);
      expect(answer.headers.get('x-tollgate-fallback-from')).toBe(down);
      expect(answer.headers.get('x-tollgate-model')).toBe(up);
      expect(answer.headers.get('x-tollgate-upstream')).toBe(`upstream of ${up}`);

      const [failed, served] = await endedOf(tenantId, 2);
      expect(failed).toMatchObject({ status: 'VOIDED', transferredNanoUsd: 0n });
      expect(served).toMatchObject({
        ...{ status: 'COMMITTED', transferredNanoUsd: CHARGED_NANO_USD },
        traceId: answer.headers.get('x-request-id'),
      });
      expect(await stack.book.walletNanoUsd(tenantId)).toBe(TEN_USD - CHARGED_NANO_USD);
      expect(await logged(tenantId, 2)).toMatchObject([
        { id: failed?.traceId, model: down, end_reason: 'fell_back', attempts: [{ outcome: '500', paid_by: 'house' }] },
        { id: served?.traceId, model: up, status: 200, attempts: [{ is_served: true, paid_by: 'tenant' }] },
      ]);
      const margins = (await adminCall(stack.gateway, 'GET', `margins?group_by=model&tenant_id=${tenantId}`)) as object;
      const cost = `0.${FAILED_COST_NANO_USD.toString().padStart(9, '0')}`;
      expect(margins).toMatchObject({ totals: { charges: 1, charged_usd: '0.000030000', house_cost_usd: cost } });
    },
  );

  it('is served by the first that can be had, in their order, also by way of another', async () => {
    const [asked, second, third, served] = [
      await model({ resetAt: 'headers' }),
      await model({ fail: { status: 503 } }),
      await model({ fail: { status: 429 } }),
      await model(ANSWER),
    ];
    await standsIn(['nobody has it', second], asked);
    await standsIn([third], second);
    await standsIn([served], third);
    const { tenantId, key } = await tenant();
    const answer = await ask(key, { model: asked });
    expect([answer.status, answer.headers.get('x-tollgate-model')]).toEqual([200, served]);
    expect(stack.simulator.served().map(({ model: name }) => name)).toEqual([asked, second, third, served]);
    expect((await endedOf(tenantId, 4)).map(({ status }) => status)).toEqual([
      'VOIDED',
      'VOIDED',
      'VOIDED',
      'COMMITTED',
    ]);
    expect(await stack.book.walletNanoUsd(tenantId)).toBe(TEN_USD - CHARGED_NANO_USD);
  });

  it('is stood in for by a model of another kind of provider, whatever its client speaks', async () => {
    const anthropic = await createAnthropicProvider(stack.gateway, stack.simulator.url);
    const asked = await model({ fail: { status: 529 } }, { provider_id: anthropic });
    const up = await model(ANSWER);
    await standsIn([up], asked);
    const { tenantId, key } = await tenant();
    const { client } = anthropicClient(stack.gateway, key, { maxRetries: 0 });
    const stream = client.messages.stream({
      model: asked,
      max_tokens: 20,
      messages: [{ role: 'user', content: 'Hello' }],
    });
    expect(await stream.finalMessage()).toMatchObject({ model: asked, content: [{ type: 'text', text: 'Hi there.' }] });
    const { response, request_id } = await stream.withResponse();
    expect(response.headers.get('x-tollgate-model')).toBe(up);
    const [, served] = await endedOf(tenantId, 2);
    expect([served?.traceId, served?.transferredNanoUsd]).toEqual([request_id, CHARGED_NANO_USD]);
    expect(stack.simulator.served().map(({ wire }) => wire)).toEqual(['anthropic-messages', 'openai-chat']);
  });

  it('is stood in for where it takes too long', async () => {
    const asked = await model({ hangAt: 'headers' }, { timeout_ms: 300 });
    const up = await model(ANSWER);
    await standsIn([up], asked);
    const { tenantId, key } = await tenant();
    expect((await ask(key, { model: asked })).headers.get('x-tollgate-model')).toBe(up);
    expect((await endedOf(tenantId, 2)).map(({ reasonCode }) => reasonCode)).toEqual(['UPSTREAM_TIMEOUT', null]);
  });

  it('is what the error is about where nobody stands in after all: one answer, nothing charged', async () => {
    const asked = await model({ fail: { status: 500 } });
    const other = await model({ fail: { status: 500 } });
    await standsIn([other], asked);
    const { tenantId, key } = await tenant();
    const before = await metricOf(stack.gateway, 'tollgate_requests_total');
    const answer = await ask(key, { model: asked });
    expect(answer.status).toBe(502);
    expect(answer.headers.get('x-tollgate-fallback-from')).toBeNull();
    const [first] = await endedOf(tenantId, 2);
    expect(answer.headers.get('x-request-id')).toBe(first?.traceId);
    expect(await answer.json()).toMatchObject({ error: { code: 'UPSTREAM_ERROR' } });
    expect(await stack.book.walletNanoUsd(tenantId)).toBe(TEN_USD);
    const after = await metricOf(stack.gateway, 'tollgate_requests_total');
    const sum = (samples: ReadonlyMap<string, number>): number =>
      [...samples].reduce((total, [labels, value]) => (labels.includes('/v1/chat') ? total + value : total), 0);
    expect(sum(after) - sum(before)).toBe(1);
  });

  it('is not stood in for where the caller is at fault, nor once a byte was sent', async () => {
    const picky = await model({ fail: { status: 400, message: 'no' } });
    const brittle = await model({ text: 'one two three four', endAt: 2 });
    const up = await model(ANSWER);
    await standsIn([up], picky);
    await standsIn([up], brittle);
    const { tenantId, key } = await tenant();
    expect((await ask(key, { model: picky })).status).toBe(400);
    const torn = await ask(key, { model: brittle, stream: true });
    expect(await torn.text()).toContain('UPSTREAM_ERROR');
    expect((await ask(key, { model: picky, max_tokens: 0 })).status).toBe(400);
    expect(stack.simulator.served().map(({ model: name }) => name)).toEqual([picky, brittle]);
    await endedOf(tenantId, 2);
  });

  it('is stood in for by none that the key may not use', async () => {
    const asked = await model({ fail: { status: 500 } });
    const forbidden = await model(ANSWER);
    await standsIn([forbidden], asked);
    const { key } = await tenant({}, { allowed_models: [asked] });
    const answer = await ask(key, { model: asked });
    expect([answer.status, await answer.json()]).toMatchObject([502, { error: { code: 'UPSTREAM_ERROR' } }]);
    expect(stack.simulator.served().map(({ model: name }) => name)).toEqual([asked]);
  });

  it('is held for once at a time: neither one call at once nor a small balance keeps the other from being asked', async () => {
    const asked = await model({ fail: { status: 500 } });
    const up = await model(ANSWER);
    await standsIn([up], asked);
    // Each run holds some 160,000 nano-USD: text bytes / 3 × 3,000 and 20 × 4,000.
    const { tenantId, key } = await tenant({ initial_balance_usd: '0.000250', concurrency_limit: 1 });
    for (let round = 0; round < 2; round += 1) expect((await ask(key, { model: asked })).status).toBe(200);
    const charges = await endedOf(tenantId, 4);
    for (const { holdNanoUsd } of charges) expect(holdNanoUsd).toBeGreaterThan(150_000n);
    expect(await stack.book.walletNanoUsd(tenantId)).toBe(250_000n - 2n * CHARGED_NANO_USD);
  });

  it.each([false, true])(
    'keeps its Idempotency-Key: the same bytes again, charged once (stream: %s)',
    async (stream) => {
      const asked = await model({ fail: { status: 500 } });
      const up = await model(ANSWER);
      await standsIn([up], asked);
      const { tenantId, key } = await tenant();
      const headers = { 'idempotency-key': newKey() };
      const first = await ask(key, { model: asked, stream }, headers);
      const bytes = await first.text();
      expect(first.status).toBe(200);
      const again = await ask(key, { model: asked, stream }, headers);
      expect(await again.text()).toBe(bytes);
      expect(again.headers.get('idempotent-replayed')).toBe('true');
      expect(again.headers.get('x-tollgate-original-request-id')).toBe(first.headers.get('x-request-id'));
      expect(again.headers.get('x-tollgate-fallback-from')).toBe(asked);
      expect(again.headers.get('x-tollgate-model')).toBe(up);
      await endedOf(tenantId, 2);
      expect(await stack.book.walletNanoUsd(tenantId)).toBe(TEN_USD - CHARGED_NANO_USD);
    },
  );

  it('is charged once however many ask at once under one key', async () => {
    const asked = await model({ fail: { status: 500 }, headersDelayMs: 20 });
    const up = await model(ANSWER);
    await standsIn([up], asked);
    const { tenantId, key } = await tenant();
    const headers = { 'idempotency-key': newKey() };
    const answers = await Promise.all(Array.from({ length: 12 }, () => ask(key, { model: asked }, headers)));
    const statuses = answers.map(({ status }) => status);
    expect(statuses.every((status) => status === 200 || status === 409)).toBe(true);
    const last = await eventually('the answer is kept', async () => {
      const answer = await ask(key, { model: asked }, headers);
      return answer.status === 200 ? answer : undefined;
    });
    expect(last.headers.get('idempotent-replayed')).toBe('true');
    const charges = await stack.book.ofTenant(tenantId);
    expect(charges.filter(({ status }) => status === 'COMMITTED')).toHaveLength(1);
    expect(await stack.book.walletNanoUsd(tenantId)).toBe(TEN_USD - CHARGED_NANO_USD);
  });

  it('is not asked once it is left alone: nothing is held for it', async () => {
    const [, careful] = stack.gateways;
    const asked = await model(FAILED);
    const up = await model(ANSWER);
    await standsIn([up], asked);
    const last = await model(ANSWER);
    const { tenantId, key } = await tenant();
    await eventually('the other gateway knows what was made last', async () => {
      const { status } = await fetch(`${careful?.url ?? ''}/v1/models/${last}`, { headers: { 'x-api-key': key } });
      return status === 200 ? true : undefined;
    });
    for (let call = 0; call < 8; call += 1) {
      const answer = await ask(key, { model: asked }, {}, careful);
      expect([answer.status, answer.headers.get('x-tollgate-model')]).toEqual([200, up]);
    }
    const failed = stack.simulator.served().filter(({ model: name }) => name === asked).length;
    expect(failed).toBeGreaterThanOrEqual(3);
    expect(failed).toBeLessThan(8);
    const charges = await endedOf(tenantId, 8 + failed);
    expect(charges.filter(({ status }) => status === 'VOIDED')).toHaveLength(failed);
    expect(await stack.book.walletNanoUsd(tenantId)).toBe(TEN_USD - 8n * CHARGED_NANO_USD);
  });

  it('is charged exactly, and leaves nothing held, where two hundred ask at once', async () => {
    const asked = await model(FAILED);
    const up = await model(ANSWER);
    await standsIn([up], asked);
    const { tenantId, key } = await tenant();
    const answers = await Promise.all(
      Array.from({ length: 200 }, async (_, at) => {
        const answer = await ask(key, { model: asked, stream: at % 2 === 0 });
        return [answer.status, answer.headers.get('x-tollgate-model'), (await answer.text()).includes('error')];
      }),
    );
    expect(answers).toEqual(answers.map(() => [200, up, false]));
    const ended = await endedOf(tenantId, 400);
    expect(ended.filter(({ status }) => status === 'COMMITTED')).toHaveLength(200);
    expect(await stack.book.walletNanoUsd(tenantId)).toBe(TEN_USD - 200n * CHARGED_NANO_USD);
    const balance = await fetch(`${stack.gateway.url}/v1/balance`, { headers: { 'x-api-key': key } });
    expect(await balance.json()).toMatchObject({ held_usd: '0.000000000', posted_usd: '9.994000000' });
  }, 60_000);

  it('is told in its client’s words, whatever script they are written in', async () => {
    const asked = await model({ fail: { status: 500 } });
    const up = '备用模型 ü';
    await createUpstream(stack.gateway, {
      provider_id: providerId,
      model: up,
      upstream_model: 'reserve',
      name: '上游',
    });
    await createPrice(stack.gateway, { model: up });
    stack.simulator.script('reserve', ANSWER);
    await standsIn([up], asked);
    const { key } = await tenant();
    const answer = await ask(key, { model: asked });
    expect(answer.status).toBe(200);
    expect(decodeURIComponent(answer.headers.get('x-tollgate-model') ?? '')).toBe(up);
    expect(decodeURIComponent(answer.headers.get('x-tollgate-upstream') ?? '')).toBe('上游');
  });
});
