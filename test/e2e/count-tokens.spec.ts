import type Anthropic from '@anthropic-ai/sdk';
import { createPaidModel, type PaidModel } from '../factories/paid-model';
import { createApiKey, createTenant } from '../factories/tenants';
import { createAnthropicProvider, createUpstream } from '../factories/upstreams';
import { anthropicClient, anthropicErrorOf } from '../support/anthropic-caller';
import { eventually } from '../support/eventually';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../support/gateway-stack';

const MESSAGES: Anthropic.MessageParam[] = [{ role: 'user', content: 'How many tokens is this?' }];
/** Asked of a provider of Anthropic's kind; of two, the first before the second; of one that speaks chat alone. */
const [COUNTED, TWICE, CHAT] = ['claude-counted', 'claude-twice', 'chat-alone'];

describe('how many tokens a message would be', () => {
  let stack: GatewayStack;
  let paid: PaidModel;
  let client: Anthropic;

  beforeAll(async () => {
    stack = await startGatewayStack();
    paid = await createPaidModel(stack.gateway, { baseUrl: `${stack.simulator.url}/v1`, model: CHAT });
    const providerId = await createAnthropicProvider(stack.gateway, stack.simulator.url);
    const upstreams = [
      { model: COUNTED, upstream_model: 'claude-real' },
      { model: TWICE, upstream_model: 'claude-first', priority: 1 },
      { model: TWICE, upstream_model: 'claude-second', priority: 2 },
    ];
    for (const upstream of upstreams) await createUpstream(stack.gateway, { provider_id: providerId, ...upstream });
    ({ client } = anthropicClient(stack.gateway, paid.key, { maxRetries: 0 }));
  }, 120_000);

  afterAll(() => stack.close());

  beforeEach(() => {
    stack.simulator.reset();
  });

  afterEach(async () => {
    expect(await stack.book.ofTenant(paid.tenantId)).toEqual([]);
    expect(await brokenInvariants(stack.gateway)).toEqual([]);
  });

  const count = (model: string, more: object = {}): ReturnType<Anthropic['messages']['countTokens']> =>
    client.messages.countTokens({ model, messages: MESSAGES, ...more });

  it('is what a provider of Anthropic says, asked as the client asked', async () => {
    stack.simulator.script('claude-real#count_tokens', { promptTokens: 1_234 });
    const asked = client.beta.messages.countTokens(
      { model: COUNTED, messages: MESSAGES, betas: ['token-counting-2024-11-01'] },
      { query: { beta: 'true' } },
    );
    expect(await asked).toEqual({ input_tokens: 1_234 });
    const [served] = stack.simulator.served();
    expect(stack.simulator.served()).toHaveLength(1);
    expect(served?.url).toBe('/v1/messages/count_tokens?beta=true');
    expect(served?.headers['anthropic-beta']).toContain('token-counting-2024-11-01');
    expect(JSON.parse(String(served?.body))).toEqual({ model: 'claude-real', messages: MESSAGES });
  });

  it('costs nothing: an empty wallet may ask', async () => {
    const tenantId = await createTenant(stack.gateway, { initial_balance_usd: '0' });
    const { key } = await createApiKey(stack.gateway, tenantId);
    const poor = anthropicClient(stack.gateway, key).client;
    const { input_tokens } = await poor.messages.countTokens({ model: COUNTED, messages: MESSAGES });
    expect(input_tokens).toBeGreaterThan(0);
    expect(await stack.book.ofTenant(tenantId)).toEqual([]);
  });

  it.each([
    ['fails', { fail: { status: 500 } }],
    ['is in a hurry', { fail: { status: 429 } }],
    ['does not count', { fail: { status: 404 } }],
    ['hangs up', { resetAt: 'headers' as const }],
  ])('is what the next provider says where one %s', async (_, behaviour) => {
    stack.simulator.script('claude-first#count_tokens', behaviour);
    stack.simulator.script('claude-second#count_tokens', { promptTokens: 77 });
    expect(await count(TWICE)).toEqual({ input_tokens: 77 });
    expect(stack.simulator.served()).toHaveLength(2);
  });

  it('does not count against a provider that it is asked in vain', async () => {
    stack.simulator.script('claude-first#count_tokens', { fail: { status: 500 } });
    stack.simulator.script('claude-second#count_tokens', { promptTokens: 77 });
    await count(TWICE);
    await count(TWICE);
    const firsts = stack.simulator.served().filter(({ body }) => body.includes('claude-first'));
    expect(firsts).toHaveLength(2);
  });

  it('is counted here where no provider of the model says', async () => {
    // "user", "How many tokens is this?", and the frame of a message and of the answer, three tokens each.
    const spoken = 1 + 6 + 6;
    expect(await count(CHAT)).toEqual({ input_tokens: spoken });
    expect(stack.simulator.served()).toEqual([]);
    stack.simulator.script('claude-real#count_tokens', { fail: { status: 500 } });
    expect(await count(COUNTED)).toEqual({ input_tokens: spoken });
    const source = { type: 'base64', media_type: 'image/png', data: 'AAAA' };
    const image = { messages: [{ role: 'user', content: [{ type: 'image', source }] }] };
    expect((await count(CHAT, image)).input_tokens).toBeGreaterThan(1_000);
  });

  it('is refused as a message would be', async () => {
    const bad = { messages: [{ role: 'user' }] };
    expect(await anthropicErrorOf(count(COUNTED, bad))).toMatchObject({
      status: 400,
      details: { param: 'messages[0].content' },
    });
    expect(await anthropicErrorOf(count('no-such-model'))).toMatchObject({ status: 404, errorCode: 'MODEL_NOT_FOUND' });
    const { key } = await createApiKey(stack.gateway, paid.tenantId, { allowed_models: ['another'] });
    const asked = anthropicClient(stack.gateway, key).client.messages.countTokens({
      model: COUNTED,
      messages: MESSAGES,
    });
    expect(await anthropicErrorOf(asked)).toMatchObject({ status: 403, errorCode: 'MODEL_NOT_ALLOWED' });
    const nobody = anthropicClient(stack.gateway, 'sk-tg-nobody').client;
    expect(await anthropicErrorOf(nobody.messages.countTokens({ model: COUNTED, messages: MESSAGES }))).toMatchObject({
      status: 401,
    });
    stack.simulator.script('claude-real#count_tokens', { fail: { status: 400 } });
    expect(await anthropicErrorOf(count(COUNTED))).toMatchObject({ status: 400, errorCode: 'UPSTREAM_REJECTED' });
  });

  it('is told to a few askers of an account at a time, the others are to come again', async () => {
    stack.simulator.script('claude-real#count_tokens', { hangAt: 'headers' });
    const waiting = Array.from({ length: 8 }, () => count(COUNTED));
    await eventually('all are under way', () => Promise.resolve(stack.simulator.served().length === 8 || undefined));
    const error = await anthropicErrorOf(count(COUNTED));
    expect(error).toMatchObject({ status: 429, type: 'rate_limit_error', errorCode: 'CONCURRENCY_EXCEEDED' });
    expect(error.headers?.get('retry-after')).toBe('1');
    // Providers that say nothing are not waited for long.
    const counts = await Promise.all(waiting);
    expect(counts.every(({ input_tokens }) => input_tokens === 13)).toBe(true);
    stack.simulator.reset();
    expect((await count(COUNTED)).input_tokens).toBeGreaterThan(0);
  });
});
