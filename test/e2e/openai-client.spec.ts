import type OpenAI from 'openai';
import { createApiKey, createTenant } from '../factories/tenants';
import { createPaidModel, type PaidModel } from '../factories/paid-model';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../support/gateway-stack';
import { openAiClient, traceIdOf } from '../support/openai-caller';

type Chunk = OpenAI.ChatCompletionChunk;

/** 0.5 USD cached input and 2.5 USD input, 10 USD output a million tokens, 0.00001 USD a request: in nano-USD. */
const PRICE = {
  input_usd_per_mtok: '2.5',
  cached_input_usd_per_mtok: '0.5',
  output_usd_per_mtok: '10',
  per_request_usd: '0.00001',
};
const MODEL = 'acme/chat-large';
const UPSTREAM_MODEL = 'sim-large';
const TEN_USD = 10_000_000_000n;
const MESSAGES: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'Tell me about ledgers.' }];
/** 1 × 1 pixel, as data; small, so that a byte count that takes it for text would be seen in the hold. */
const IMAGE_URL = `data:image/png;base64,${'iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB'.repeat(2_000)}`;

const WEATHER_TOOL: OpenAI.ChatCompletionTool = {
  type: 'function',
  function: { name: 'weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } },
};
const TWO_CALLS = [
  { id: 'call_a', name: 'weather', arguments: '{"city":"Berlin"}' },
  { id: 'call_b', name: 'weather', arguments: '{"city":"São Paulo"}' },
] as const;

describe('the official openai client', () => {
  let stack: GatewayStack;
  let paid: PaidModel;
  let client: OpenAI;
  /** Σ of what the tests computed by hand: the wallet must agree in the end. */
  let spentNanoUsd = 0n;

  beforeAll(async () => {
    stack = await startGatewayStack();
    paid = await createPaidModel(stack.gateway, {
      baseUrl: `${stack.simulator.url}/v1`,
      model: MODEL,
      upstream: { upstream_model: UPSTREAM_MODEL },
      price: PRICE,
    });
    ({ client } = openAiClient(stack.gateway, paid.key));
  }, 120_000);

  afterAll(() => stack.close());

  beforeEach(() => {
    stack.simulator.reset();
  });

  afterEach(async () => {
    expect(await brokenInvariants(stack.gateway)).toEqual([]);
    expect(await stack.book.walletNanoUsd(paid.tenantId)).toBe(TEN_USD - spentNanoUsd);
  });

  /** The charge of a call is committed, of the amount computed by hand, and moved just once. */
  async function expectCharge(traceId: string, amountNanoUsd: bigint, endReason = 'complete'): Promise<void> {
    const charge = await stack.book.ended(traceId);
    expect(charge).toMatchObject({
      status: 'COMMITTED',
      amountNanoUsd,
      transferredNanoUsd: amountNanoUsd,
      method: 'usage',
      endReason,
    });
    spentNanoUsd += amountNanoUsd;
  }

  it('lists the models it may ask for, and retrieves one whose name contains a slash', async () => {
    const models = await client.models.list();
    expect(models.data.map(({ id, object, owned_by }) => ({ id, object, owned_by }))).toEqual([
      { id: MODEL, object: 'model', owned_by: 'tollgate' },
    ]);
    expect(await client.models.retrieve(MODEL)).toEqual(models.data[0]);
  });

  it('gets a whole answer under the name it asked for, and is charged the reported usage', async () => {
    stack.simulator.script(UPSTREAM_MODEL, {
      text: 'A ledger has two sides.',
      promptTokens: 1_000,
      cachedTokens: 400,
      completionTokens: 21,
    });
    const {
      data,
      response,
      request_id: requestId,
    } = await client.chat.completions.create({ model: MODEL, messages: MESSAGES }).withResponse();
    expect(data.model).toBe(MODEL);
    expect(data.choices).toMatchObject([
      { index: 0, finish_reason: 'stop', message: { role: 'assistant', content: 'A ledger has two sides.' } },
    ]);
    expect(data.usage).toMatchObject({ prompt_tokens: 1_000, completion_tokens: 21, total_tokens: 1_021 });
    expect(requestId).toBe(traceIdOf(response));
    // 600 × 2,500 + 400 × 500 + 21 × 10,000 + 10,000 a request
    expect(response.headers.get('x-tollgate-cost-usd')).toBe('0.001920000');
    expect(response.headers.get('x-tollgate-balance-usd')).toBe('9.998080000');
    await expectCharge(traceIdOf(response), 1_920_000n);
  });

  it('gets a stream without any usage when it did not ask for one, which was asked upstream all the same', async () => {
    stack.simulator.script(UPSTREAM_MODEL, { text: 'un deux trois', promptTokens: 7, completionTokens: 3 });
    const { data, response } = await client.chat.completions
      .create({ model: MODEL, messages: MESSAGES, stream: true })
      .withResponse();
    const chunks = await all(data);
    expect(textOf(chunks)).toBe('un deux trois');
    expect(chunks.every(({ choices }) => choices.length === 1)).toBe(true);
    expect(chunks.filter(({ usage }) => usage !== null && usage !== undefined)).toEqual([]);
    expect(chunks.map(({ model }) => model)).toEqual(chunks.map(() => MODEL));
    expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe('stop');
    expect(servedBody()).toMatchObject({ stream: true, stream_options: { include_usage: true } });
    // 7 × 2,500 + 3 × 10,000 + 10,000
    await expectCharge(traceIdOf(response), 57_500n);
  });

  it('gets the usage of a stream as its last chunk when it asked for it', async () => {
    stack.simulator.script(UPSTREAM_MODEL, { text: 'un deux', promptTokens: 9, completionTokens: 2 });
    const { data, response } = await client.chat.completions
      .create({ model: MODEL, messages: MESSAGES, stream: true, stream_options: { include_usage: true } })
      .withResponse();
    const chunks = await all(data);
    expect(textOf(chunks)).toBe('un deux');
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 9, completion_tokens: 2 } });
    expect(chunks.slice(0, -1).every(({ usage }) => usage === null)).toBe(true);
    // 9 × 2,500 + 2 × 10,000 + 10,000
    await expectCharge(traceIdOf(response), 52_500n);
  });

  it('gets parallel tool calls of a whole answer', async () => {
    stack.simulator.script(UPSTREAM_MODEL, { toolCalls: TWO_CALLS, promptTokens: 80, completionTokens: 30 });
    const { data, response } = await client.chat.completions
      .create({ model: MODEL, messages: MESSAGES, tools: [WEATHER_TOOL], parallel_tool_calls: true })
      .withResponse();
    expect(data.choices[0]).toMatchObject({
      finish_reason: 'tool_calls',
      message: { content: null, tool_calls: TWO_CALLS.map(asToolCall) },
    });
    expect(servedBody()).toMatchObject({ tools: [WEATHER_TOOL], parallel_tool_calls: true });
    // 80 × 2,500 + 30 × 10,000 + 10,000
    await expectCharge(traceIdOf(response), 510_000n);
  });

  it('puts parallel tool calls of a stream together by itself', async () => {
    stack.simulator.script(UPSTREAM_MODEL, { toolCalls: TWO_CALLS, promptTokens: 81, completionTokens: 31 });
    const stream = client.chat.completions.stream({ model: MODEL, messages: MESSAGES, tools: [WEATHER_TOOL] });
    const answer = await stream.finalChatCompletion();
    expect(answer.choices[0]?.finish_reason).toBe('tool_calls');
    expect(answer.choices[0]?.message.tool_calls).toMatchObject(TWO_CALLS.map(asToolCall));
    const [charge] = (await stack.book.ofTenant(paid.tenantId)).slice(-1);
    // 81 × 2,500 + 31 × 10,000 + 10,000
    await expectCharge(charge?.traceId ?? '', 522_500n);
  });

  it('sends an image, which is reserved by the model’s constant and not by its bytes', async () => {
    stack.simulator.script(UPSTREAM_MODEL, { text: 'A dot.', promptTokens: 1_200, completionTokens: 4 });
    const content: OpenAI.ChatCompletionContentPart[] = [
      { type: 'text', text: 'What is this?' },
      { type: 'image_url', image_url: { url: IMAGE_URL } },
    ];
    const { data, response } = await client.chat.completions
      .create({ model: MODEL, messages: [{ role: 'user', content }], max_completion_tokens: 10 })
      .withResponse();
    expect(data.choices[0]?.message.content).toBe('A dot.');
    expect(stack.simulator.served()[0]?.body).toContain(IMAGE_URL.slice(0, 1_000));
    const { holdNanoUsd } = await stack.book.ended(traceIdOf(response));
    // 1,500 a picture × 2,500 + 10 × 10,000 + 10,000, and less than 300 bytes of text / 3 × 2,500
    expect(holdNanoUsd).toBeGreaterThan(3_860_000n);
    expect(holdNanoUsd).toBeLessThan(3_860_000n + 250_000n);
    // 1,200 × 2,500 + 4 × 10,000 + 10,000
    await expectCharge(traceIdOf(response), 3_050_000n);
  });

  it('hangs up in the middle of a stream, which is read to its end and charged as the provider reports it', async () => {
    stack.simulator.script(UPSTREAM_MODEL, { tokens: 20, paceMs: 20, promptTokens: 11, completionTokens: 20 });
    const { data, response } = await client.chat.completions
      .create({ model: MODEL, messages: MESSAGES, stream: true })
      .withResponse();
    let seen = 0;
    for await (const chunk of data) {
      if (textOf([chunk]) !== '') seen += 1;
      if (seen === 3) break;
    }
    expect(data.controller.signal.aborted).toBe(true);
    // 11 × 2,500 + 20 × 10,000 + 10,000
    await expectCharge(traceIdOf(response), 237_500n, 'client_left_drained');
    expect(stack.simulator.served()).toMatchObject([{ outcome: 'complete', contentChunks: 20 }]);
  });

  it('has its unknown parameters passed on untouched', async () => {
    stack.simulator.script(UPSTREAM_MODEL, { text: 'Yes.', promptTokens: 5, completionTokens: 1 });
    const body = { model: MODEL, messages: MESSAGES, reasoning_effort: 'low' as const, x_future: { a: [1, null] } };
    const { response } = await client.chat.completions.create(body).withResponse();
    expect(servedBody()).toEqual({ ...body, model: UPSTREAM_MODEL });
    // 5 × 2,500 + 1 × 10,000 + 10,000
    await expectCharge(traceIdOf(response), 32_500n);
  });

  it('neither fails nor rides free when it repeats a request id of its own', async () => {
    stack.simulator.script(UPSTREAM_MODEL, { text: 'Yes.', promptTokens: 5, completionTokens: 1 });
    const headers = { 'x-request-id': 'mine-1' };
    const ask = async (): Promise<string> => {
      const call = client.chat.completions.create({ model: MODEL, messages: MESSAGES }, { headers });
      return traceIdOf((await call.withResponse()).response);
    };
    const traceIds = [await ask(), await ask()];
    expect(new Set([...traceIds, 'mine-1']).size).toBe(3);
    for (const traceId of traceIds) await expectCharge(traceId, 32_500n);
  });

  it('shares nothing with another tenant: each pays its own call', async () => {
    const tenantId = await createTenant(stack.gateway);
    const { key } = await createApiKey(stack.gateway, tenantId);
    stack.simulator.script(UPSTREAM_MODEL, { text: 'Yes.', promptTokens: 5, completionTokens: 1 });
    await openAiClient(stack.gateway, key).client.chat.completions.create({ model: MODEL, messages: MESSAGES });
    expect(await stack.book.walletNanoUsd(tenantId)).toBe(TEN_USD - 32_500n);
  });

  function servedBody(): unknown {
    return JSON.parse(stack.simulator.served().at(-1)?.body ?? 'null');
  }
});

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = [];
  for await (const item of items) collected.push(item);
  return collected;
}

function textOf(chunks: readonly Chunk[]): string {
  return chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('');
}

function asToolCall({ id, name, arguments: text }: (typeof TWO_CALLS)[number]): object {
  return { id, type: 'function', function: { name, arguments: text } };
}
