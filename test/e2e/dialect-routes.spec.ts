import Anthropic from '@anthropic-ai/sdk';
import type OpenAI from 'openai';
import { adminCall } from '../factories/admin-client';
import { createApiKey, createTenant } from '../factories/tenants';
import { createAnthropicProvider, createOpenAiProvider, createPrice, createUpstream } from '../factories/upstreams';
import type { Behaviour } from '../simulator/behaviour';
import type { ServedRecord } from '../simulator/served-log';
import { anthropicClient } from '../support/anthropic-caller';
import { eventually } from '../support/eventually';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../support/gateway-stack';
import { newKey } from '../support/keyed-call';
import { apiErrorOf, openAiClient } from '../support/openai-caller';

const ANSWER: Behaviour = { text: 'Hi there.', promptTokens: 6, completionTokens: 3 };
/** 6 × 1,000 + 3 × 2,000 nano-USD at 1 and 2 USD a million tokens. */
const ANSWER_NANO_USD = 12_000n;
const ANSWER_USD = '0.000012000';
const TEN_USD = 10_000_000_000n;
const GPT = 'routes-gpt';
const CLAUDE = 'routes-claude';
const ASKED: Anthropic.MessageCreateParams = {
  model: CLAUDE,
  max_tokens: 50,
  messages: [{ role: 'user', content: 'Hello' }],
};

describe('the routes of every dialect', () => {
  let stack: GatewayStack;
  let tenantId: string;
  let key: string;

  beforeAll(async () => {
    stack = await startGatewayStack();
    const { gateway, simulator } = stack;
    const openai = await createOpenAiProvider(gateway, simulator.url);
    const anthropic = await createAnthropicProvider(gateway, simulator.url);
    await createUpstream(gateway, {
      provider_id: openai,
      model: GPT,
      upstream_model: 'gpt-there',
      name: 'upstream gpt',
    });
    await createUpstream(gateway, { provider_id: anthropic, model: CLAUDE, name: 'upstream claude' });
    for (const model of [GPT, CLAUDE]) await createPrice(gateway, { model });
  }, 120_000);

  afterAll(() => stack.close(), 30_000);

  beforeEach(async () => {
    stack.simulator.reset();
    stack.simulator.script('*', ANSWER);
    tenantId = await createTenant(stack.gateway, { rpm_limit: 600, daily_quota: null, monthly_quota: null });
    ({ key } = await createApiKey(stack.gateway, tenantId));
  });

  afterEach(async () => {
    expect(await brokenInvariants(stack.gateway)).toEqual([]);
  });

  const openai = (): OpenAI => openAiClient(stack.gateway, key).client;
  const anthropic = (): Anthropic => anthropicClient(stack.gateway, key).client;

  function served(): ServedRecord {
    const [record, ...others] = stack.simulator.served();
    if (!record || others.length > 0) throw new Error('the provider was not called once');
    return record;
  }

  /** Charged once, under the route in the request log and on the receipt. */
  async function expectCharged(traceId: string | null | undefined, route: string, amount: bigint): Promise<void> {
    expect(traceId).toMatch(/^[0-9a-f-]{36}$/);
    expect(await stack.book.ended(traceId ?? '')).toMatchObject({ status: 'COMMITTED', transferredNanoUsd: amount });
    expect(await stack.book.walletNanoUsd(tenantId)).toBe(TEN_USD - amount);
    const row = await eventually('the call is in the request log', async () => {
      const path = `request-logs?tenant_id=${tenantId}`;
      const { data } = (await adminCall(stack.gateway, 'GET', path)) as { data: Record<string, unknown>[] };
      return data.find(({ id }) => id === traceId);
    });
    expect(row).toMatchObject({ route, status: 200 });
    const receipt = await fetch(`${stack.gateway.url}/v1/receipts/${traceId ?? ''}`, { headers: { 'x-api-key': key } });
    expect(await receipt.json()).toMatchObject({ status: 'committed' });
  }

  describe('/v1/messages', () => {
    function expectTold(headers: Headers): void {
      expect(headers.get('request-id')).toBe(headers.get('x-request-id'));
      expect(headers.get('anthropic-ratelimit-requests-limit')).toBe('600');
      expect(headers.get('anthropic-ratelimit-requests-remaining')).toBe('599');
      expect(headers.get('anthropic-ratelimit-requests-reset')).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      expect(headers.get('x-tollgate-upstream')).toBe('upstream claude');
      for (const name of ['x-ratelimit-limit-requests', 'openai-processing-ms']) expect(headers.get(name)).toBeNull();
    }

    it('answers Anthropic’s client with its headers, whole', async () => {
      const { data, response, request_id } = await anthropic()
        .messages.create({ ...ASKED, stream: false })
        .withResponse();
      expect(data).toMatchObject({ type: 'message', model: CLAUDE, content: [{ type: 'text', text: 'Hi there.' }] });
      expectTold(response.headers);
      expect(request_id).toBe(response.headers.get('x-request-id'));
      expect(response.headers.get('x-tollgate-cost-usd')).toBe(ANSWER_USD);
      await expectCharged(request_id, '/v1/messages', ANSWER_NANO_USD);
    });

    it('answers Anthropic’s client with its headers, streamed: the cost in a comment that it does not see', async () => {
      const stream = anthropic().messages.stream(ASKED);
      const message = await stream.finalMessage();
      expect(message).toMatchObject({ model: CLAUDE, stop_reason: 'end_turn', usage: { output_tokens: 3 } });
      const { response, request_id } = await stream.withResponse();
      expectTold(response.headers);
      expect(response.headers.get('content-type')).toContain('text/event-stream');
      await expectCharged(request_id, '/v1/messages', ANSWER_NANO_USD);
    });

    it('tells the cost before the last event of a stream', async () => {
      const response = await fetch(`${stack.gateway.url}/v1/messages`, {
        method: 'POST',
        headers: { 'x-api-key': key, 'content-type': 'application/json' },
        body: JSON.stringify({ ...ASKED, stream: true }),
      });
      const text = await response.text();
      const comment = text.indexOf(`: tollgate cost_usd=${ANSWER_USD}`);
      expect(comment).toBeGreaterThan(text.indexOf('event: message_delta'));
      expect(comment).toBeLessThan(text.indexOf('event: message_stop'));
    });

    it.each([
      ['/v1/messages', {}],
      ['/v1/messages?beta=true', { query: { beta: 'true', key: 'canary' } }],
    ])('passes betas and the version on, and nothing else of the client’s: %s', async (url, more) => {
      await anthropic().beta.messages.create(
        {
          model: CLAUDE,
          max_tokens: 50,
          messages: [{ role: 'user', content: 'Hello' }],
          betas: ['context-1m-2025-08-07'],
        },
        {
          headers: {
            'anthropic-version': '2023-06-01',
            cookie: 'a=b',
            'x-forwarded-for': '10.0.0.1',
            'openai-beta': 'x',
            'x-session-id': 's-1',
          },
          ...more,
        },
      );
      const { url: called, headers, credentials } = served();
      expect(called).toBe(url);
      expect(credentials).toBe('x-api-key');
      expect(headers).toMatchObject({ 'anthropic-version': '2023-06-01', 'anthropic-beta': 'context-1m-2025-08-07' });
      for (const name of ['cookie', 'x-forwarded-for', 'openai-beta', 'x-session-id', 'x-stainless-lang']) {
        expect(headers).not.toHaveProperty(name);
      }
      expect(JSON.stringify(headers)).not.toContain(key);
    });
  });

  describe('/v1/responses', () => {
    const request = { model: GPT, input: 'Hello', max_output_tokens: 50 };

    function expectTold(headers: Headers): void {
      expect(headers.get('x-ratelimit-limit-requests')).toBe('600');
      expect(headers.get('openai-processing-ms')).toMatch(/^\d+$/);
      expect(headers.get('x-tollgate-upstream')).toBe('upstream gpt');
      for (const name of ['request-id', 'anthropic-ratelimit-requests-limit']) expect(headers.get(name)).toBeNull();
    }

    it('answers OpenAI’s client with its headers, whole', async () => {
      const { data, response } = await openai().responses.create(request).withResponse();
      expect(data).toMatchObject({ model: GPT, status: 'completed', output_text: 'Hi there.' });
      expectTold(response.headers);
      expect(response.headers.get('x-tollgate-cost-usd')).toBe(ANSWER_USD);
      await expectCharged(response.headers.get('x-request-id'), '/v1/responses', ANSWER_NANO_USD);
    });

    it('answers OpenAI’s client with its headers, streamed: the cost in a comment that it does not see', async () => {
      const { data, response } = await openai()
        .responses.create({ ...request, stream: true })
        .withResponse();
      const types: string[] = [];
      for await (const { type } of data) types.push(type);
      expect([types[0], types.at(-1)]).toEqual(['response.created', 'response.completed']);
      expectTold(response.headers);
      await expectCharged(response.headers.get('x-request-id'), '/v1/responses', ANSWER_NANO_USD);
    });

    it.each([GPT, CLAUDE])('throws in OpenAI’s client in the middle of a stream that breaks: %s', async (model) => {
      for (const name of ['gpt-there', CLAUDE]) {
        stack.simulator.script(name, { text: 'one two three four', errorEventAt: 2 });
      }
      const seen: string[] = [];
      const read = async (): Promise<void> => {
        for await (const event of await openai().responses.create({ ...request, model, stream: true })) {
          if (event.type === 'response.output_text.delta') seen.push(event.delta);
        }
      };
      expect(await apiErrorOf(read())).toMatchObject({ code: 'UPSTREAM_ERROR', param: null });
      expect(seen.join('')).toBe('one two');
      // What was delivered is charged before the error is told.
      expect(await stack.book.ofTenant(tenantId)).toMatchObject([{ status: 'COMMITTED', method: 'tokenizer' }]);
    });

    it('passes the beta of OpenAI’s on', async () => {
      await openai().responses.create(request, { headers: { 'OpenAI-Beta': 'responses=v9', 'anthropic-beta': 'x' } });
      const { url, headers, credentials } = served();
      expect([url, credentials, headers['openai-beta']]).toEqual(['/v1/responses', 'bearer', 'responses=v9']);
      expect(headers).not.toHaveProperty('anthropic-beta');
    });
  });

  it('/v1/embeddings answers OpenAI’s client, and charges what was read', async () => {
    const request: OpenAI.EmbeddingCreateParams = { model: GPT, input: ['one', 'two'] };
    const { data, response } = await openai().embeddings.create(request).withResponse();
    expect(data.data).toHaveLength(2);
    expect(data.model).toBe(GPT);
    expect(response.headers.get('x-tollgate-upstream')).toBe('upstream gpt');
    const amount = BigInt(data.usage.prompt_tokens) * 1_000n;
    expect(amount).toBeGreaterThan(0n);
    await expectCharged(response.headers.get('x-request-id'), '/v1/embeddings', amount);
  });

  const KEYED: readonly (readonly [string, object])[] = [
    ['/v1/messages', ASKED],
    ['/v1/messages', { ...ASKED, stream: true }],
    ['/v1/messages', { ...ASKED, model: GPT, stream: true }],
    ['/v1/responses', { model: GPT, input: 'Hello' }],
    ['/v1/responses', { model: GPT, input: 'Hello', stream: true }],
    ['/v1/responses', { model: CLAUDE, input: 'Hello', stream: true }],
    ['/v1/embeddings', { model: GPT, input: 'Hello' }],
  ];

  async function post(path: string, body: string, headers: Readonly<Record<string, string>>): Promise<Response> {
    return fetch(`${stack.gateway.url}${path}`, {
      method: 'POST',
      headers: { 'x-api-key': key, 'content-type': 'application/json', ...headers },
      body,
    });
  }

  it.each(KEYED)('%s gives the same bytes again under one Idempotency-Key: %j', async (path, asked) => {
    const headers = { 'idempotency-key': newKey() };
    const body = JSON.stringify(asked);
    const first = await post(path, body, headers);
    const bytes = await first.text();
    expect(first.status).toBe(200);
    const again = await post(path, body, headers);
    expect([again.status, await again.text()]).toEqual([200, bytes]);
    expect(again.headers.get('content-type')).toBe(first.headers.get('content-type'));
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    expect(again.headers.get('x-tollgate-original-request-id')).toBe(first.headers.get('x-request-id'));
    expect(again.headers.get('request-id')).toBe(path === '/v1/messages' ? again.headers.get('x-request-id') : null);
    const other = await post(path, `${body} `, headers);
    expect([other.status, await other.text()]).toEqual([422, expect.stringContaining('IDEMPOTENCY_KEY_REUSED')]);
    expect(stack.simulator.served()).toHaveLength(1);
    const charges = await stack.book.ofTenant(tenantId);
    expect(charges.map(({ status }) => status)).toEqual(['COMMITTED']);
  });

  it('a key is bound to its route: the same body elsewhere is another request', async () => {
    const headers = { 'idempotency-key': newKey() };
    const body = JSON.stringify({ ...ASKED, model: GPT });
    expect((await post('/v1/messages', body, headers)).status).toBe(200);
    const elsewhere = await post('/v1/chat/completions', body, headers);
    expect([elsewhere.status, await elsewhere.json()]).toMatchObject([
      422,
      { error: { code: 'IDEMPOTENCY_KEY_REUSED' } },
    ]);
  });

  it('lists models, aliases among them, to either client', async () => {
    await adminCall(stack.gateway, 'PUT', 'model-aliases/routes-alias', { model: CLAUDE });
    const seen = async (list: AsyncIterable<{ id: string }>): Promise<readonly string[]> => {
      const ids: string[] = [];
      for await (const { id } of list) ids.push(id);
      return ids;
    };
    const names = ['routes-alias', CLAUDE, GPT];
    expect(await seen(openai().models.list())).toEqual(names);
    expect(await seen(anthropic().models.list())).toEqual(names);
    expect(await openai().models.retrieve('routes-alias')).toMatchObject({ id: 'routes-alias', object: 'model' });
    expect(await anthropic().models.retrieve('routes-alias')).toMatchObject({ id: 'routes-alias', type: 'model' });
    const { data, response } = await anthropic()
      .messages.create({ ...ASKED, model: 'routes-alias', stream: false })
      .withResponse();
    expect(data.model).toBe('routes-alias');
    expect(response.headers.get('x-tollgate-model')).toBe(CLAUDE);
    expect(response.headers.get('x-tollgate-fallback-from')).toBeNull();
  });
});
