import { encode } from 'gpt-tokenizer/encoding/o200k_base';

import { createPrice, createOpenAiProvider, createProvider, createUpstream } from '../factories/upstreams';
import { createApiKey, createTenant } from '../factories/tenants';
import type { Behaviour } from '../simulator/behaviour';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../support/gateway-stack';
import { plainCall, type PlainAnswer } from '../support/plain-call';

const MODEL = 'text-embedding-test';
const CHAT_ONLY = 'chat-only-test';
/** Output is dearer than any call here may cost: nothing of it may be reserved or billed. */
const PRICE = { input_usd_per_mtok: '1', output_usd_per_mtok: '1000' };

describe('embeddings', () => {
  let stack: GatewayStack;

  beforeAll(async () => {
    stack = await startGatewayStack();
    const { gateway, simulator } = stack;
    const openai = await createOpenAiProvider(gateway, simulator.url);
    const chat = await createProvider(gateway, { base_url: `${simulator.url}/v1`, dialects: ['openai-chat'] });
    await createUpstream(gateway, { provider_id: openai, model: MODEL, upstream_model: 'theirs' });
    await createUpstream(gateway, { provider_id: chat, model: CHAT_ONLY });
    for (const model of [MODEL, CHAT_ONLY]) await createPrice(gateway, { model, ...PRICE });
  }, 120_000);

  afterAll(() => stack.close(), 30_000);

  afterEach(async () => {
    expect(await brokenInvariants(stack.gateway)).toEqual([]);
  });

  async function keyWith(initial_balance_usd: string): Promise<string> {
    const tenantId = await createTenant(stack.gateway, { initial_balance_usd });
    return (await createApiKey(stack.gateway, tenantId)).key;
  }

  const embed = (key: string, input: unknown, more: object = {}, behaviour: Behaviour = {}): Promise<PlainAnswer> =>
    plainCall(stack.gateway, key, {
      path: '/v1/embeddings',
      body: { model: MODEL, input, x_simulate: behaviour, ...more },
    });

  it('are charged by the input that the provider reports, at once, and shown as the client named them', async () => {
    const answer = await embed(await keyWith('1'), 'Hello', {}, { promptTokens: 12 });
    expect(answer.json).toMatchObject({ object: 'list', model: MODEL, usage: { prompt_tokens: 12, total_tokens: 12 } });
    const charge = await stack.book.ended(answer.headers.get('x-request-id') ?? '');
    expect(charge).toMatchObject({ status: 'COMMITTED', method: 'usage', amountNanoUsd: 12_000n });
    expect(charge.tokens).toEqual({ input_uncached: 12 });
  });

  it.each([
    ['a text', 'How many tokens is this?', encode('How many tokens is this?').length],
    ['texts', ['one two', 'three'], encode('one two').length + encode('three').length],
    ['tokens', [1, 22, 333_333], 3],
    ['lists of tokens', [[1, 2], [3], [4, 5, 6]], 6],
  ])('are counted where the provider reports nothing: %s', async (_, input, tokens) => {
    const answer = await embed(await keyWith('1'), input, {}, { usage: 'omitted' });
    const charge = await stack.book.ended(answer.headers.get('x-request-id') ?? '');
    expect(charge).toMatchObject({ status: 'COMMITTED', method: 'tokenizer', tokens: { input_uncached: tokens } });
    expect(charge.tokens).toEqual({ input_uncached: tokens });
    expect(charge.holdNanoUsd).toBeGreaterThanOrEqual(charge.amountNanoUsd);
  });

  it('reserve their input alone: a balance that no output would fit in is enough, one below the input is not', async () => {
    const input = Array.from({ length: 1_000 }, () => 100_000);
    const enough = await embed(await keyWith('0.0011'), input, {}, { promptTokens: 1_000 });
    expect(enough.status).toBe(200);
    const short = await embed(await keyWith('0.0009'), input);
    expect([short.status, short.json]).toMatchObject([402, { error: { code: 'QUOTA_BALANCE_EXCEEDED' } }]);
  });

  it('refuse, by its name, what they cannot be', async () => {
    const key = await keyWith('1');
    const streamed = await embed(key, 'Hello', { stream: true });
    expect([streamed.status, streamed.json]).toMatchObject([400, { error: { param: 'stream' } }]);
    const empty = await embed(key, []);
    expect([empty.status, empty.json]).toMatchObject([400, { error: { param: 'input' } }]);
  });

  it('are asked only of providers that have them', async () => {
    stack.simulator.reset();
    const answer = await embed(await keyWith('1'), 'Hello', { model: CHAT_ONLY });
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(stack.simulator.served()).toEqual([]);
  });
});
