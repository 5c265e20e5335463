import OpenAI from 'openai';
import { openAiSchemas } from '../../support/openai-schemas';
import type { Behaviour } from '../behaviour';
import { type Simulator, startSimulator } from '../simulator';

type Body = OpenAI.Responses.ResponseCreateParamsNonStreaming;

describe('the simulator as OpenAI’s responses', () => {
  const schemas = openAiSchemas();
  let simulator: Simulator;
  let client: OpenAI;

  beforeAll(async () => {
    simulator = await startSimulator();
    client = new OpenAI({ baseURL: `${simulator.url}/v1`, apiKey: 'sk-any', maxRetries: 0 });
  });
  afterAll(() => simulator.close());
  beforeEach(() => {
    simulator.reset();
  });

  const ask = (more: Partial<Body> = {}): Body => ({ model: 'gpt-sim', input: 'Hello there', ...more });

  async function eventsOf(more: Partial<Body> = {}): Promise<OpenAI.Responses.ResponseStreamEvent[]> {
    const events: OpenAI.Responses.ResponseStreamEvent[] = [];
    for await (const event of await client.responses.create({ ...ask(more), stream: true })) events.push(event);
    return events;
  }

  const tools: OpenAI.Responses.Tool[] = [
    { type: 'function', name: 'weather', parameters: { type: 'object' }, strict: false },
    { type: 'custom', name: 'patch' },
  ];
  const toolCalls = [
    { name: 'weather', arguments: '{"city":"Malmö"}' },
    { name: 'patch', arguments: '*** any text' },
  ];

  it.each<[string, Behaviour, Partial<Body>]>([
    ['text', {}, {}],
    ['text that was cut', { tokens: 9 }, { max_output_tokens: 4 }],
    ['tool calls, also of custom tools', { toolCalls }, { tools }],
    ['text before a tool call', { text: 'I look.', toolCalls }, { tools, instructions: 'Be kind.' }],
    [
      'a summary of thoughts',
      { reasoning: 'I think so.', signature: 'sealed' },
      { include: ['reasoning.encrypted_content'] },
    ],
    ['thoughts themselves', { reasoning: 'I think so.', isReasoningRaw: true }, {}],
    ['a sealed thought', { redactedReasoning: 'sealed' }, {}],
    ['a refusal', { refusal: 'I would rather not.' }, {}],
    ['citations', { text: 'See.', citations: [{ url: 'https://a.example', title: 'A' }] }, {}],
    ['what a filter ended', { text: 'So', finishReason: 'content_filter' }, {}],
  ])('streams the response that it answers whole, valid by OpenAI’s own schema: %s', async (_what, behaviour, more) => {
    simulator.script('gpt-sim', behaviour);
    const whole = await client.responses.create(ask(more));
    const events = await eventsOf(more);
    const last = events.at(-1);
    const types = events.map(({ type }) => type);
    expect(types.slice(0, 2)).toEqual(['response.created', 'response.in_progress']);
    if (last?.type !== 'response.completed' && last?.type !== 'response.incomplete') throw new Error('no end');
    expect(last.type).toBe(`response.${String(whole.status)}`);
    const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value).replace(/_sim_\d+/g, '_sim'));
    expect(plain(last.response.output)).toEqual(plain(whole.output));
    expect(last.response.usage).toEqual(whole.usage);
    expect(events.map(({ sequence_number }) => sequence_number)).toEqual(events.map((_, index) => index));
    // What a client that joins the deltas gets.
    const joined = await client.responses.stream({ ...ask(more), stream: true }).finalResponse();
    expect(plain(joined.output_text)).toBe(whole.output_text);
    const problems = [
      ...(schemas?.problemsOf('Response', whole) ?? []),
      ...events.flatMap((event) => schemas?.problemsOf('ResponseStreamEvent', event) ?? []),
    ];
    expect(problems).toEqual([]);
  });

  it('says whether it could be held against OpenAI’s schema', () => {
    if (!schemas) process.stdout.write('no description of OpenAI’s API on this machine: shapes are not checked\n');
    expect(schemas?.problemsOf('Response', {}) ?? ['unchecked']).not.toEqual([]);
  });

  it('tells usage with the response', async () => {
    simulator.script('gpt-sim', { promptTokens: 50, cachedTokens: 10, completionTokens: 20, reasoningTokens: 15 });
    const { usage } = await client.responses.create(ask());
    expect(usage).toMatchObject({
      input_tokens: 50,
      input_tokens_details: { cached_tokens: 10 },
      output_tokens: 20,
      output_tokens_details: { reasoning_tokens: 15 },
      total_tokens: 70,
    });
    expect(simulator.served()[0]).toMatchObject({ wire: 'openai-responses', usage: { prompt_tokens: 50 } });
  });

  it('ends badly when told: an error, a failed response, a missing end, an HTTP error', async () => {
    const [bad, failed, cut] = [
      { errorEventAt: 1, errorEventMessage: 'busy' },
      { errorEventAt: 1, errorEventType: 'response.failed', errorEventMessage: 'busy' },
      { done: false },
    ];
    simulator.script('gpt-sim', bad);
    await expect(eventsOf()).rejects.toThrow('busy');
    simulator.script('gpt-sim', failed);
    expect((await eventsOf()).at(-1)).toMatchObject({
      type: 'response.failed',
      response: { status: 'failed', error: { message: 'busy' } },
    });
    simulator.script('gpt-sim', cut);
    expect((await eventsOf()).at(-1)?.type).toBe('response.output_item.done');
    simulator.script('gpt-sim', { fail: { status: 503 } });
    await expect(client.responses.create(ask())).rejects.toMatchObject({ status: 503 });
  });

  const call = { type: 'function_call', call_id: 'c1', name: 'weather', arguments: '{}' };
  it.each([
    [{ input: [] }, 'input'],
    [{ input: undefined }, 'input'],
    [{ previous_response_id: 'resp_1' }, 'previous_response_id'],
    [{ input: [call] }, 'c1'],
    [{ input: [{ type: 'function_call_output', call_id: 'c2', output: 'x' }] }, 'c2'],
  ])('refuses what OpenAI would (%j)', async (more, field) => {
    const body = { ...ask(), ...more } as Body;
    await expect(client.responses.create(body)).rejects.toMatchObject({
      status: 400,
      message: expect.stringContaining(field) as string,
    });
  });

  it('takes a call with its output', async () => {
    simulator.script('gpt-sim', { text: 'So it rains.' });
    const input = [call, { type: 'function_call_output', call_id: 'c1', output: 'rain' }];
    expect((await client.responses.create(ask({ input: input as OpenAI.Responses.ResponseInput }))).output_text).toBe(
      'So it rains.',
    );
  });
});

describe('the simulator as OpenAI’s embeddings', () => {
  let simulator: Simulator;
  let client: OpenAI;

  beforeAll(async () => {
    simulator = await startSimulator();
    client = new OpenAI({ baseURL: `${simulator.url}/v1`, apiKey: 'sk-any', maxRetries: 0 });
  });
  afterAll(() => simulator.close());

  it('gives equal inputs equal vectors, as numbers and as base64', async () => {
    const create = (fields: object): Promise<OpenAI.CreateEmbeddingResponse> =>
      client.embeddings.create({ model: 'embed-sim', input: ['a', 'b', 'a'], ...fields });
    // The SDK asks for base64 itself where nobody says, and decodes it.
    const decoded = await create({});
    const numbers = await create({ encoding_format: 'float' });
    expect(numbers.data.map(({ index }) => index)).toEqual([0, 1, 2]);
    expect(numbers.data[0]?.embedding).toEqual(numbers.data[2]?.embedding);
    expect(numbers.data[0]?.embedding).not.toEqual(numbers.data[1]?.embedding);
    expect(decoded.data.map(({ embedding }) => Array.from(embedding))).toEqual(
      numbers.data.map(({ embedding }) => embedding),
    );
    expect(
      (await create({ dimensions: 3, input: [[1, 2], [3]] })).data.map(({ embedding }) => embedding.length),
    ).toEqual([3, 3]);
    expect(simulator.served().map(({ body }) => JSON.parse(body) as object)).toMatchObject([
      { encoding_format: 'base64' },
      { encoding_format: 'float' },
      {},
    ]);
  });

  it('reports what was read, and nothing written', async () => {
    simulator.script('embed-sim', { promptTokens: 8 });
    const { usage } = await client.embeddings.create({ model: 'embed-sim', input: 'a text' });
    expect(usage).toEqual({ prompt_tokens: 8, total_tokens: 8 });
    await expect(client.embeddings.create({ model: 'embed-sim', input: [] })).rejects.toMatchObject({ status: 400 });
  });
});
