import OpenAI from 'openai';
import { createPaidModel, type PaidModel } from '../factories/paid-model';
import { createApiKey, createTenant } from '../factories/tenants';
import type { Behaviour } from '../simulator/behaviour';
import { eventually } from '../support/eventually';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../support/gateway-stack';
import { apiErrorOf, openAiClient, traceIdOf } from '../support/openai-caller';

const MESSAGES: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'Hello' }];
const ANSWER: Behaviour = { text: 'Hi there.', promptTokens: 6, completionTokens: 3 };
/** 6 × 1,000 + 3 × 2,000 nano-USD at 1 and 2 USD a million tokens. */
const ANSWER_NANO_USD = 12_000n;
const TEN_USD = 10_000_000_000n;

/** Two gateways without Redis: everything but the limits a minute is as it always is. */
describe('the official openai client, where there is no Redis', () => {
  let stack: GatewayStack;
  let paid: PaidModel;

  beforeAll(async () => {
    const withoutRedis = { REDIS_URL: 'none', PROCESS_BEAT_MS: '100', PROCESS_DEAD_MS: '1000' };
    stack = await startGatewayStack([withoutRedis, withoutRedis]);
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

  async function health(): Promise<unknown> {
    return (await fetch(`${stack.gateway.url}/health`)).json();
  }

  it('gets whole answers and streams, each charged once, and sees its balance', async () => {
    const { client } = openAiClient(stack.gateway, paid.key);
    const { data, response } = await client.chat.completions
      .create({ model: paid.model, messages: MESSAGES })
      .withResponse();
    expect(data.choices[0]?.message.content).toBe('Hi there.');
    expect(response.headers.get('x-tollgate-balance-usd')).toBe('9.999988000');
    const stream = await client.chat.completions.create({ model: paid.model, messages: MESSAGES, stream: true });
    let text = '';
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
    expect(text).toBe('Hi there.');
    const charge = await stack.book.ended(traceIdOf(response));
    expect(charge).toMatchObject({ status: 'COMMITTED', amountNanoUsd: ANSWER_NANO_USD, method: 'usage' });
    expect(await stack.book.walletNanoUsd(paid.tenantId)).toBe(TEN_USD - 2n * ANSWER_NANO_USD);
    expect(await health()).toMatchObject({ status: 'ok', mode: 'postgres' });
  });

  it.each<[string, object, object, number, string]>([
    ['an empty wallet', { initial_balance_usd: '0' }, {}, 402, 'QUOTA_BALANCE_EXCEEDED'],
    ['a key’s budget', {}, { budget_usd: '0.000001' }, 402, 'QUOTA_BUDGET_EXCEEDED'],
    ['the requests of a day', { daily_quota: 0 }, {}, 429, 'QUOTA_DAILY_EXCEEDED'],
    ['the requests of a month', { monthly_quota: 0 }, {}, 429, 'QUOTA_MONTHLY_EXCEEDED'],
    ['a key’s 5 hours', {}, { limit_5h_usd: '0.000001' }, 429, 'API_KEY_RATE_LIMIT_5H_EXCEEDED'],
    ['requests a minute', { rpm_limit: 0 }, {}, 429, 'TENANT_RPM_EXCEEDED'],
  ])('is refused for %s as it is with Redis, and nothing is booked', async (_, tenant, key, status, code) => {
    const tenantId = await createTenant(stack.gateway, tenant);
    const { client } = openAiClient(stack.gateway, (await createApiKey(stack.gateway, tenantId, key)).key, {
      maxRetries: 0,
    });
    expect(await apiErrorOf(ask(client))).toMatchObject({ status, code });
    expect(stack.simulator.served()).toEqual([]);
    expect(await stack.book.ofTenant(tenantId)).toEqual([]);
  });

  it('is admitted as often as its money covers, of 60 calls at once on both gateways', async () => {
    // Each call reserves 1,024 output tokens at 2,000 nano-USD and its input: a bit more than 0.002 USD.
    const tenantId = await createTenant(stack.gateway, { initial_balance_usd: '0.021', daily_quota: null });
    const { key } = await createApiKey(stack.gateway, tenantId);
    stack.simulator.script('*', { ...ANSWER, headersDelayMs: 1_500 });
    const clients = stack.gateways.map((gateway) => openAiClient(gateway, key, { maxRetries: 0 }).client);
    const calls = await Promise.allSettled(
      Array.from({ length: 60 }, (_, at) => ask(clients[at % 2] ?? clients[0] ?? new OpenAI())),
    );
    const answered = calls.filter(({ status }) => status === 'fulfilled').length;
    expect(answered).toBe(10);
    const refusals = calls.flatMap((call) =>
      call.status === 'rejected' ? [(call.reason as { code: string }).code] : [],
    );
    expect(new Set(refusals)).toEqual(new Set(['QUOTA_BALANCE_EXCEEDED']));
    expect(await stack.book.walletNanoUsd(tenantId)).toBe(21_000_000n - BigInt(answered) * ANSWER_NANO_USD);
  });

  it('loses a gateway in the middle of a stream: its charge is ended by the other one', async () => {
    const tenantId = await createTenant(stack.gateway, {});
    const { key } = await createApiKey(stack.gateway, tenantId);
    const [, dying] = stack.gateways;
    if (!dying) throw new Error('there are two gateways');
    stack.simulator.script('*', { tokens: 400, paceMs: 50 });
    const { client } = openAiClient(dying, key, { maxRetries: 0 });
    const stream = await client.chat.completions.create({ model: paid.model, messages: MESSAGES, stream: true });
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content !== undefined) break;
    await dying.kill9();
    const [charge] = await eventually('the charge has ended', async () => {
      const charges = await stack.book.ofTenant(tenantId);
      return charges.every(({ status }) => status !== 'PENDING') ? charges : undefined;
    });
    expect(charge).toMatchObject({ reasonCode: 'PROCESS_DEAD' });
    stack.simulator.script('*', ANSWER);
    await ask(openAiClient(stack.gateway, key).client);
  }, 60_000);
});
