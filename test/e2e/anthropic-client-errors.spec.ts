import Anthropic from '@anthropic-ai/sdk';
import { createPaidModel, type PaidModel } from '../factories/paid-model';
import { createApiKey, createTenant } from '../factories/tenants';
import { createAnthropicProvider, createPrice, createUpstream } from '../factories/upstreams';
import { anthropicClient, anthropicErrorOf } from '../support/anthropic-caller';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../support/gateway-stack';

const MESSAGES: Anthropic.MessageParam[] = [{ role: 'user', content: 'Hello' }];
const MODEL = 'claude-test';
const TRACE_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

describe('the official Anthropic client, refused', () => {
  let stack: GatewayStack;
  let paid: PaidModel;
  let anthropicId: string;

  beforeAll(async () => {
    stack = await startGatewayStack();
    paid = await createPaidModel(stack.gateway, { baseUrl: `${stack.simulator.url}/v1` });
    anthropicId = await createAnthropicProvider(stack.gateway, stack.simulator.url);
    await createUpstream(stack.gateway, { provider_id: anthropicId, model: MODEL });
    await createPrice(stack.gateway, { model: MODEL });
  }, 120_000);

  afterAll(() => stack.close());

  beforeEach(() => {
    stack.simulator.reset();
  });

  afterEach(async () => {
    expect(await brokenInvariants(stack.gateway)).toEqual([]);
  });

  const ask = (client: Anthropic, more: object = {}): Promise<unknown> =>
    client.messages.create({ model: MODEL, max_tokens: 100, messages: MESSAGES, ...more });

  it.each([
    ['an empty wallet', {}],
    ['an empty wallet, streaming', { stream: true }],
  ])('402 for %s: one HTTP call, nothing sent upstream, nothing booked', async (_, more) => {
    const tenantId = await createTenant(stack.gateway, { initial_balance_usd: '0' });
    const { key } = await createApiKey(stack.gateway, tenantId);
    const { client, httpCalls } = anthropicClient(stack.gateway, key);
    const error = await anthropicErrorOf(ask(client, more));
    expect(error).toBeInstanceOf(Anthropic.PaymentRequiredError);
    expect(error).toMatchObject({ type: 'billing_error', errorCode: 'QUOTA_BALANCE_EXCEEDED' });
    expect(error.requestID).toMatch(TRACE_ID);
    expect(error.headers?.get('x-request-id')).toBe(error.requestID);
    expect(error.error).toMatchObject({ request_id: error.requestID });
    expect(httpCalls()).toBe(1);
    expect(stack.simulator.served()).toEqual([]);
    expect(await stack.book.ofTenant(tenantId)).toEqual([]);
  });

  it('429 for a call that no minute has tokens for: the limit in the headers its clients read', async () => {
    const tenantId = await createTenant(stack.gateway, { tpm_limit: 50 });
    const { key } = await createApiKey(stack.gateway, tenantId);
    const { client, httpCalls } = anthropicClient(stack.gateway, key);
    const error = await anthropicErrorOf(ask(client));
    expect(error).toBeInstanceOf(Anthropic.RateLimitError);
    expect(error).toMatchObject({ type: 'rate_limit_error', errorCode: 'TENANT_TPM_EXCEEDED' });
    expect(error.headers?.get('anthropic-ratelimit-tokens-limit')).toBe('50');
    expect(error.headers?.get('anthropic-ratelimit-tokens-remaining')).toBe('50');
    expect(error.headers?.get('x-ratelimit-limit-tokens')).toBeNull();
    expect(error.headers?.get('x-should-retry')).toBe('false');
    expect(httpCalls()).toBe(1);
  });

  it.each([
    ['in x-api-key', false],
    ['as bearer', true],
  ])('401 for a key that was never made, %s', async (_, isBearer) => {
    const { client, httpCalls } = anthropicClient(stack.gateway, `sk-tg-${'0'.repeat(43)}`, { isBearer });
    const error = await anthropicErrorOf(ask(client));
    expect(error).toBeInstanceOf(Anthropic.AuthenticationError);
    expect(error).toMatchObject({ type: 'authentication_error', errorCode: 'INVALID_API_KEY' });
    expect(await anthropicErrorOf(client.models.list())).toMatchObject({ type: 'authentication_error' });
    expect(httpCalls()).toBe(2);
  });

  it('403 for a model that the key may not use', async () => {
    const { key } = await createApiKey(stack.gateway, paid.tenantId, { allowed_models: ['another'] });
    const error = await anthropicErrorOf(ask(anthropicClient(stack.gateway, key).client));
    expect(error).toBeInstanceOf(Anthropic.PermissionDeniedError);
    expect(error).toMatchObject({ type: 'permission_error', errorCode: 'MODEL_NOT_ALLOWED' });
  });

  it('404 for an unknown model, asked for or looked up, and for an API that is not there', async () => {
    const { client, httpCalls } = anthropicClient(stack.gateway, paid.key);
    const error = await anthropicErrorOf(ask(client, { model: 'no-such-model' }));
    expect(error).toBeInstanceOf(Anthropic.NotFoundError);
    expect(error).toMatchObject({
      type: 'not_found_error',
      errorCode: 'MODEL_NOT_FOUND',
      details: { error_code: 'MODEL_NOT_FOUND', param: 'model' },
    });
    expect(error.apiMessage).toContain("The model 'no-such-model' does not exist");
    const calls = [
      () => client.models.retrieve('no/such model'),
      () => client.messages.batches.list(),
      () => client.beta.files.list(),
    ];
    for (const call of calls) {
      const missing = await anthropicErrorOf(call());
      expect(missing).toBeInstanceOf(Anthropic.NotFoundError);
      expect(missing.type).toBe('not_found_error');
    }
    expect(httpCalls()).toBe(4);
  });

  it('400 naming the field', async () => {
    const { client } = anthropicClient(stack.gateway, paid.key);
    const error = await anthropicErrorOf(ask(client, { max_tokens: -1 }));
    expect(error).toBeInstanceOf(Anthropic.BadRequestError);
    expect(error).toMatchObject({ type: 'invalid_request_error', details: { param: 'max_tokens' } });
  });

  it('400 naming the header that cannot be passed on', async () => {
    const { client } = anthropicClient(stack.gateway, paid.key);
    const call = client.messages.create(
      { model: MODEL, max_tokens: 100, messages: MESSAGES },
      { headers: { 'anthropic-beta': 'x'.repeat(3_000) } },
    );
    expect(await anthropicErrorOf(call)).toMatchObject({ status: 400, details: { param: 'anthropic-beta' } });
  });

  it('is told in Chinese where it prefers that', async () => {
    const { client } = anthropicClient(stack.gateway, paid.key, { acceptLanguage: 'zh-CN,zh;q=0.9' });
    const error = await anthropicErrorOf(ask(client, { model: 'no-such-model' }));
    expect(error.apiMessage).toBe('模型“no-such-model”不存在。可用模型请见 GET /v1/models。');
  });

  const providers = ['anthropic', 'openai'] as const;
  const failures = [
    [400, 400, 'invalid_request_error', 'UPSTREAM_REJECTED', 1],
    [404, 404, 'not_found_error', 'UPSTREAM_REJECTED', 1],
    [401, 502, 'api_error', 'UPSTREAM_ERROR', 2],
    [500, 502, 'api_error', 'UPSTREAM_ERROR', 2],
  ] as const;
  it.each(providers.flatMap((kind) => failures.map((failure) => [kind, ...failure] as const)))(
    'a provider of kind %s that answers %i: %i %s',
    async (kind, from, status, type, errorCode, calls) => {
      const model = `failing ${from} ${kind}`;
      const provider_id = kind === 'anthropic' ? anthropicId : paid.providerId;
      await createUpstream(stack.gateway, { provider_id, model, upstream_model: `bad-${from}` });
      await createPrice(stack.gateway, { model });
      const message = 'The key sk-abcdefgh12345678 is wrong.';
      stack.simulator.script(`bad-${from}`, { fail: { status: from, message } });
      const { client, httpCalls } = anthropicClient(stack.gateway, paid.key, { maxRetries: 1 });
      const error = await anthropicErrorOf(ask(client, { model }));
      expect(error).toMatchObject({ status, type, errorCode });
      expect(JSON.stringify(error.error)).not.toContain('sk-abcdefgh12345678');
      expect(httpCalls()).toBe(calls);
      expect(await stack.book.ended(error.requestID ?? '')).toMatchObject({ status: 'VOIDED', amountNanoUsd: 0n });
    },
  );

  it.each(providers)('throws in the middle of a stream of kind %s that breaks', async (kind) => {
    const model = `breaking ${kind}`;
    const provider_id = kind === 'anthropic' ? anthropicId : paid.providerId;
    await createUpstream(stack.gateway, { provider_id, model, upstream_model: 'brittle' });
    await createPrice(stack.gateway, { model });
    stack.simulator.script('brittle', { text: 'one two three four', errorEventAt: 2 });
    const { client } = anthropicClient(stack.gateway, paid.key);
    const seen: string[] = [];
    const read = async (): Promise<void> => {
      const stream = await client.messages.create({ model, max_tokens: 100, messages: MESSAGES, stream: true });
      for await (const event of stream) {
        if (event.type === 'content_block_delta' && event.delta.type === 'text_delta') seen.push(event.delta.text);
      }
    };
    const error = await anthropicErrorOf(read());
    expect(error).toMatchObject({ type: 'api_error', errorCode: 'UPSTREAM_ERROR' });
    expect(seen.join('')).toBe('one two');
  });
});
