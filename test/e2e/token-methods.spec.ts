import { createPaidModel, type PaidModel } from '../factories/paid-model';
import { createApiKey, createTenant } from '../factories/tenants';
import type { Behaviour } from '../simulator/behaviour';
import type { BookedCharge } from '../support/charge-book';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../support/gateway-stack';
import { metricOf, plainCall } from '../support/plain-call';

const WORDS = 120;
const TEXT = Array.from({ length: WORDS }, () => 'word').join(' ');
/** 120 frames of 3 KB are more than is kept of an answer. */
const HUGE: Behaviour = { text: TEXT, usage: 'omitted', padFrameBytes: 3_000 };
/** Six of the prompt's tokens frame its one message, two are `user` and `Hello`. */
const PROMPT_NANO_USD = 8_000n;

describe('how the tokens of a stream come to be known', () => {
  let stack: GatewayStack;
  let paid: PaidModel;

  beforeAll(async () => {
    stack = await startGatewayStack();
    paid = await createPaidModel(stack.gateway, { baseUrl: `${stack.simulator.url}/v1` });
  }, 120_000);

  afterAll(() => stack.close(), 30_000);

  afterEach(async () => {
    expect(await brokenInvariants(stack.gateway)).toEqual([]);
  });

  async function call(
    behaviour: Behaviour,
    more: object = {},
    key = paid.key,
  ): Promise<BookedCharge & { body: string }> {
    const messages = [{ role: 'user', content: 'Hello' }];
    const body = { model: paid.model, messages, stream: true, x_simulate: behaviour, ...more };
    const { headers, text } = await plainCall(stack.gateway, key, { body });
    return { ...(await stack.book.ended(headers.get('x-request-id') ?? '')), body: text };
  }

  async function methods(): Promise<Readonly<Record<string, number>>> {
    const samples = await metricOf(stack.gateway, 'stream_token_calculation_total');
    return Object.fromEntries([...samples].map(([label, count]) => [/"(\w+)"/.exec(label)?.[1] ?? '', count]));
  }

  it('is counted, one stream each: reported, by the tokenizer, or estimated from its frames', async () => {
    const reported = await call({ text: TEXT, promptTokens: 10, completionTokens: 50 });
    expect([reported.method, reported.amountNanoUsd]).toEqual(['usage', 110_000n]);
    const tokenized = await call({ text: TEXT, usage: 'omitted' });
    expect([tokenized.method, tokenized.amountNanoUsd]).toEqual(['tokenizer', PROMPT_NANO_USD + 240_000n]);
    const estimated = await call(HUGE);
    expect(estimated.method).toBe('estimated');
    // The frames of the role, of each word and of the end, at three tokens each.
    expect(estimated.tokens.output).toBe(3 * (WORDS + 2));
    expect(await methods()).toEqual({ usage: 1, tokenizer: 1, estimated: 1 });
  });

  it('does not count whole answers', async () => {
    const before = await methods();
    expect((await call({ text: TEXT }, { stream: false })).method).toBe('usage');
    expect(await methods()).toEqual(before);
  });

  it('is the guard’s own count where it cut a stream too large to keep, and costs no more than was held', async () => {
    const balance = 260_000n;
    const tenantId = await createTenant(stack.gateway, { initial_balance_usd: '0.00026', daily_quota: null });
    const { key } = await createApiKey(stack.gateway, tenantId);
    // Told to the provider beside the request, whose every byte is reserved for.
    stack.simulator.script(paid.model, { ...HUGE, text: `${TEXT} `.repeat(5), ignoresMaxTokens: true });
    const cut = await call({}, { max_completion_tokens: 95 }, key);
    expect(cut.body).toContain(': tollgate stream_guard=cut limit=balance');
    expect(cut).toMatchObject({ endReason: 'guard_cut', method: 'estimated' });
    expect(cut.tokens.output).toBeGreaterThan(70);
    expect(cut.amountNanoUsd).toBeLessThanOrEqual(cut.holdNanoUsd);
    expect(await stack.book.walletNanoUsd(tenantId)).toBe(balance - cut.amountNanoUsd);
  });
});
