import OpenAI from 'openai';
import { adminCall } from '../factories/admin-client';
import { createPaidModel, type PaidModel } from '../factories/paid-model';
import { createApiKey, createTenant } from '../factories/tenants';
import { createPrice, createUpstream } from '../factories/upstreams';
import type { Behaviour } from '../simulator/behaviour';
import { eventually } from '../support/eventually';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../support/gateway-stack';
import { apiErrorOf, openAiClient, traceIdOf } from '../support/openai-caller';

const MESSAGES: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'Hello' }];
const ANSWER: Behaviour = { text: 'Hi there.', promptTokens: 6, completionTokens: 3 };
/** 6 × 1,000 + 3 × 2,000 nano-USD at 1 and 2 USD a million tokens. */
const ANSWER_NANO_USD = 12_000n;
const TEN_USD = 10_000_000_000n;

describe('the official openai client, refused', () => {
  let stack: GatewayStack;
  let paid: PaidModel;

  beforeAll(async () => {
    stack = await startGatewayStack();
    paid = await createPaidModel(stack.gateway, { baseUrl: `${stack.simulator.url}/v1` });
  }, 120_000);

  afterAll(() => stack.close());

  beforeEach(() => {
    stack.simulator.reset();
    stack.simulator.script('*', ANSWER);
  });

  afterEach(async () => {
    expect(await brokenInvariants(stack.gateway)).toEqual([]);
  });

  const ask = (client: OpenAI, more: object = {}): Promise<OpenAI.ChatCompletion> =>
    client.chat.completions.create({ model: paid.model, messages: MESSAGES, ...more });

  it.each([
    ['an empty wallet', '0', {}],
    // 6 × 1,000 would do for what it costs in the end, but not for the 1,024 tokens that are reserved.
    ['a wallet that does not cover what the call may cost', '0.000020000', {}],
    ['an empty wallet, streaming', '0', { stream: true }],
  ])('402 for %s: one HTTP call, nothing sent upstream, nothing booked', async (_, initial_balance_usd, more) => {
    const tenantId = await createTenant(stack.gateway, { initial_balance_usd });
    const { key } = await createApiKey(stack.gateway, tenantId);
    const { client, httpCalls } = openAiClient(stack.gateway, key);
    const error = await apiErrorOf(ask(client, more));
    expect(error).toMatchObject({ status: 402, code: 'QUOTA_BALANCE_EXCEEDED', type: 'insufficient_quota' });
    expect(error.headers?.get('x-should-retry')).toBe('false');
    expect(error.requestID).toMatch(/^[0-9a-f-]{36}$/);
    expect(httpCalls()).toBe(1);
    expect(stack.simulator.served()).toEqual([]);
    expect(await stack.book.ofTenant(tenantId)).toEqual([]);
  });

  it('429 when the requests of the day are used up: one HTTP call, since the day is long', async () => {
    const tenantId = await createTenant(stack.gateway, { daily_quota: 1, timezone: zoneFarFromMidnight() });
    const { key } = await createApiKey(stack.gateway, tenantId);
    const { client, httpCalls } = openAiClient(stack.gateway, key);
    await ask(client);
    const error = await apiErrorOf(ask(client));
    expect(error).toBeInstanceOf(OpenAI.RateLimitError);
    expect(error).toMatchObject({ status: 429, code: 'QUOTA_DAILY_EXCEEDED', type: 'rate_limit_exceeded' });
    expect(error.headers?.get('x-should-retry')).toBe('false');
    expect(Number(error.headers?.get('retry-after'))).toBeGreaterThan(60);
    expect(httpCalls()).toBe(2);
    expect(await stack.book.walletNanoUsd(tenantId)).toBe(TEN_USD - ANSWER_NANO_USD);
  });

  it.each([
    ['that was never made', 'sk-tg-0000000000000000000000000000000000000000000'],
    ['of another service', 'sk-proj-0123456789'],
  ])('401 for a key %s, with one HTTP call', async (_, key) => {
    const { client, httpCalls } = openAiClient(stack.gateway, key);
    const error = await apiErrorOf(ask(client));
    expect(error).toBeInstanceOf(OpenAI.AuthenticationError);
    expect(error).toMatchObject({ code: 'INVALID_API_KEY', type: 'authentication_error' });
    expect(error.message).not.toContain(key);
    expect(await apiErrorOf(client.models.list())).toBeInstanceOf(OpenAI.AuthenticationError);
    expect(httpCalls()).toBe(2);
    expect(stack.simulator.served()).toEqual([]);
  });

  it('401 within five seconds for a key that worked until it was revoked', async () => {
    const { id, key } = await createApiKey(stack.gateway, paid.tenantId);
    const { client } = openAiClient(stack.gateway, key);
    await client.models.list();
    await adminCall(stack.gateway, 'POST', `api-keys/${id}/revoke`);
    const refused = (): Promise<unknown> =>
      client.models.list().then(
        () => undefined,
        (error: unknown) => error,
      );
    expect(await eventually('the revoked key is refused', refused, 5_000)).toBeInstanceOf(OpenAI.AuthenticationError);
    const error = await apiErrorOf(ask(client));
    expect(error).toMatchObject({ status: 401, code: 'API_KEY_REVOKED', type: 'authentication_error' });
    expect(stack.simulator.served()).toEqual([]);
  });

  it('404 for an unknown model, which is named, with one HTTP call', async () => {
    const { client, httpCalls } = openAiClient(stack.gateway, paid.key);
    const before = await stack.book.ofTenant(paid.tenantId);
    const error = await apiErrorOf(ask(client, { model: 'no-such-model' }));
    expect(error).toBeInstanceOf(OpenAI.NotFoundError);
    expect(error).toMatchObject({ code: 'MODEL_NOT_FOUND', type: 'invalid_request_error', param: 'model' });
    expect(error.message).toContain("The model 'no-such-model' does not exist");
    expect(await apiErrorOf(client.models.retrieve('no/such model'))).toBeInstanceOf(OpenAI.NotFoundError);
    expect(httpCalls()).toBe(2);
    expect(await stack.book.ofTenant(paid.tenantId)).toEqual(before);
  });

  it('is told in Chinese where it prefers that', async () => {
    const { client } = openAiClient(stack.gateway, paid.key, { acceptLanguage: 'zh-CN,zh;q=0.9,en;q=0.8' });
    const error = await apiErrorOf(ask(client, { model: 'no-such-model' }));
    expect(error).toMatchObject({ status: 404, code: 'MODEL_NOT_FOUND' });
    expect(error.error).toMatchObject({
      message: '模型“no-such-model”不存在。可用模型请见 GET /v1/models。',
    });
  });

  it('400 for what the provider refuses: with its reason, under the client’s model name, unpaid', async () => {
    const model = 'failing 400';
    await addUpstreams(model, ['picky']);
    const message = 'The model picky does not take 3 images, ask org-Abcdefgh1234 at https://provider.example/x.';
    stack.simulator.script('picky', { fail: { status: 400, type: 'invalid_request_error', message } });
    const { client, httpCalls } = openAiClient(stack.gateway, paid.key);
    const error = await apiErrorOf(ask(client, { model }));
    expect(error).toBeInstanceOf(OpenAI.BadRequestError);
    expect(error.code).toBe('UPSTREAM_REJECTED');
    expect(error.message).toContain('The model failing 400 does not take 3 images, ask [removed] at [removed]');
    expect(httpCalls()).toBe(1);
    expect(await stack.book.ended(error.requestID ?? '')).toMatchObject({ status: 'VOIDED', amountNanoUsd: 0n });
  });

  const failures: readonly (readonly [string, Behaviour, string])[] = [
    ['429', { fail: { status: 429, retryAfter: '30' } }, '429'],
    ['500', { fail: { status: 500 } }, '500'],
    ['503', { fail: { status: 503 } }, '503'],
    ['401, which is our own key', { fail: { status: 401 } }, '401'],
    ['a reset', { resetAt: 'headers' }, 'reset'],
    ['an error in a 200', { fail: { status: 200, body: '{"error":{"message":"overloaded"}}' } }, 'reset'],
    ['an error event at once', { errorEventAt: 0 }, 'reset'],
  ];
  const cases = failures
    .flatMap((failure) => [false, true].map((stream) => ({ failure, stream })))
    .filter(({ failure: [, { errorEventAt }], stream }) => stream || errorEventAt === undefined);
  it.each(cases)(
    'hears nothing of an upstream that fails with $failure.0 when a second one answers (stream: $stream)',
    async ({ failure: [name, behaviour, outcome], stream }) => {
      const model = `failing over ${name} ${stream}`;
      await addUpstreams(model, ['bad', 'good']);
      stack.simulator.script('bad', behaviour);
      const { client, httpCalls } = openAiClient(stack.gateway, paid.key);
      const balance = await stack.book.walletNanoUsd(paid.tenantId);

      const { text, traceId, upstream } = await answered(client, model, stream);
      expect(text).toBe('Hi there.');
      expect(upstream).toBe(`${model} good`);
      expect(httpCalls()).toBe(1);
      expect(await stack.book.attempts(traceId)).toEqual([
        { upstream: `${model} bad`, outcome },
        { upstream: `${model} good`, outcome: stream ? 'complete' : '200' },
      ]);
      const charges = await stack.book.endedOfModel(model);
      expect(charges).toMatchObject([
        { traceId, status: 'COMMITTED', transferredNanoUsd: ANSWER_NANO_USD, upstreamName: `${model} good` },
      ]);
      expect(await stack.book.walletNanoUsd(paid.tenantId)).toBe(balance - ANSWER_NANO_USD);
    },
  );

  it('throws in the middle of a stream that breaks: it never takes a torn answer for a whole one', async () => {
    const model = 'breaking';
    await addUpstreams(model, ['brittle']);
    stack.simulator.script('brittle', { text: 'one two three four', endAt: 2 });
    const { client, httpCalls } = openAiClient(stack.gateway, paid.key);
    const { data, response } = await client.chat.completions
      .create({ model, messages: MESSAGES, stream: true })
      .withResponse();
    let text = '';
    const read = async (): Promise<void> => {
      for await (const { choices } of data) text += choices[0]?.delta.content ?? '';
    };
    expect(await apiErrorOf(read())).toMatchObject({ code: 'UPSTREAM_ERROR', type: 'api_error' });
    expect(text).toBe('one two');
    expect(httpCalls()).toBe(1);
    // user, Hello and 2 × 3 of the format × 1,000; one, two × 2,000
    expect(await stack.book.ended(traceIdOf(response))).toMatchObject({
      status: 'COMMITTED',
      transferredNanoUsd: 12_000n,
      method: 'tokenizer',
      endReason: 'upstream_broke',
    });
  });

  it('may repeat a call that every upstream failed, and pays the one that was answered', async () => {
    const model = 'recovering';
    await addUpstreams(model, ['shaky']);
    stack.simulator.script('shaky', { fail: { status: 500 } }, ANSWER);
    const { client, httpCalls } = openAiClient(stack.gateway, paid.key, { maxRetries: 1 });
    expect((await ask(client, { model })).choices[0]?.message.content).toBe('Hi there.');
    expect(httpCalls()).toBe(2);
    expect(await stack.book.endedOfModel(model)).toMatchObject([
      { status: 'VOIDED', reasonCode: 'UPSTREAM_ERROR', transferredNanoUsd: 0n },
      { status: 'COMMITTED', transferredNanoUsd: ANSWER_NANO_USD },
    ]);
  });

  /** Upstreams of one model in the order they are tried, each the provider's model of its own name. */
  async function addUpstreams(model: string, upstreamModels: readonly string[]): Promise<void> {
    for (const [priority, upstream_model] of upstreamModels.entries()) {
      const order = { upstream_model, priority, name: `${model} ${upstream_model}` };
      await createUpstream(stack.gateway, { provider_id: paid.providerId, model, ...order });
    }
    await createPrice(stack.gateway, { model });
  }
});

async function answered(
  client: OpenAI,
  model: string,
  isStream: boolean,
): Promise<{ text: string; traceId: string; upstream: string | null }> {
  if (!isStream) {
    const { data, response } = await client.chat.completions.create({ model, messages: MESSAGES }).withResponse();
    const text = data.choices[0]?.message.content ?? '';
    return { text, traceId: traceIdOf(response), upstream: response.headers.get('x-tollgate-upstream') };
  }
  const { data, response } = await client.chat.completions
    .create({ model, messages: MESSAGES, stream: true })
    .withResponse();
  let text = '';
  for await (const { choices } of data) text += choices[0]?.delta.content ?? '';
  return { text, traceId: traceIdOf(response), upstream: response.headers.get('x-tollgate-upstream') };
}

/** Where the day lasts for hours still, whenever this runs. */
function zoneFarFromMidnight(): string {
  return new Date().getUTCHours() < 12 ? 'UTC' : 'Asia/Tokyo';
}
