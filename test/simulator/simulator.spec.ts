import { request as httpRequest } from 'node:http';
import OpenAI from 'openai';
import { type Behaviour } from './behaviour';
import { type Simulator, startSimulator } from './simulator';

describe('simulator', () => {
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

  const ask = (content = 'Hello there', model = 'sim-small') => ({
    model,
    messages: [{ role: 'user' as const, content }],
  });

  /** Raw answer, chunk by chunk as the socket gave it; `error` where the connection broke. */
  function post(body: object): Promise<{ status: number; chunks: Buffer[]; text: string; error?: string }> {
    return new Promise((resolve) => {
      const chunks: Buffer[] = [];
      const text = (): string => Buffer.concat(chunks).toString();
      const call = httpRequest(`${simulator.url}/v1/chat/completions`, { method: 'POST' }, (response) => {
        const status = response.statusCode ?? 0;
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          resolve({ status, chunks, text: text() });
        });
        response.on('error', (error) => {
          resolve({ status, chunks, text: text(), error: error.message });
        });
      });
      call.on('error', (error) => {
        resolve({ status: 0, chunks, text: text(), error: error.message });
      });
      call.end(JSON.stringify(body));
    });
  }

  const stream = (x_simulate: Behaviour, more = {}): ReturnType<typeof post> =>
    post({ ...ask(), stream: true, stream_options: { include_usage: true }, x_simulate, ...more });

  const dataLines = (text: string): string[] =>
    text
      .split(/\r\n|\n|\r/)
      .filter((line) => line.startsWith('data: '))
      .map((line) => line.slice(6));

  const usages = (text: string): unknown[] =>
    dataLines(text)
      .filter((line) => line !== '[DONE]')
      .map((line) => (JSON.parse(line) as { usage?: unknown }).usage);

  it('answers a chat with usage that adds up, the same for the same prompt', async () => {
    const first = await client.chat.completions.create(ask());
    const second = await client.chat.completions.create(ask());
    expect(first.choices[0]?.message.content).toContain('Hello there');
    expect(second.choices).toEqual(first.choices);
    const { prompt_tokens: prompt = 0, completion_tokens: completion = 0 } = first.usage ?? {};
    expect(first.usage?.total_tokens).toBe(prompt + completion);
    expect(prompt).toBe(3);
    expect(completion).toBeGreaterThan(30);
  });

  it('streams the text it answers whole, and reports usage only if asked', async () => {
    const whole = await client.chat.completions.create(ask());
    let text = '';
    for await (const chunk of await client.chat.completions.create({ ...ask(), stream: true })) {
      expect(chunk.usage ?? null).toBeNull();
      text += chunk.choices[0]?.delta.content ?? '';
    }
    expect(text).toBe(whole.choices[0]?.message.content);
    const asked = await stream({});
    expect(usages(asked.text).slice(-1)).toEqual([whole.usage]);
    expect(dataLines(asked.text).slice(-1)).toEqual(['[DONE]']);
  });

  it('stops at max_tokens with finish_reason length', async () => {
    const answer = await client.chat.completions.create({ ...ask(), max_completion_tokens: 5 });
    expect(answer.usage?.completion_tokens).toBe(5);
    expect(answer.choices[0]?.finish_reason).toBe('length');
  });

  it('makes texts of any length in any number of chunks', async () => {
    const { text } = await stream({ tokens: 500, chunks: 20 });
    expect(usages(text).slice(-1)).toMatchObject([{ completion_tokens: 500 }]);
    expect(simulator.served()[0]).toMatchObject({ contentChunks: 20, outcome: 'complete', wasTerminalSent: true });
  });

  it('streams parallel tool calls in pieces', async () => {
    const calls = [
      { name: 'weather', arguments: '{"city":"Malmö"}' },
      { name: 'time', arguments: '{"zone":"UTC"}' },
    ];
    const { text } = await stream({ toolCalls: calls });
    const joined = new Map<number, string>();
    for (const line of dataLines(text).slice(0, -1)) {
      const { choices } = JSON.parse(line) as OpenAI.ChatCompletionChunk;
      for (const piece of choices[0]?.delta.tool_calls ?? []) {
        joined.set(piece.index, (joined.get(piece.index) ?? '') + (piece.function?.arguments ?? ''));
      }
    }
    expect([...joined.values()]).toEqual(calls.map((call) => call.arguments));
    expect(text).toContain('"finish_reason":"tool_calls"');
  });

  it.each([
    ['omitted', (found: unknown[]) => found.every((usage) => usage === undefined)],
    ['null', (found: unknown[]) => found.every((usage) => usage === null)],
    ['zero', (found: unknown[]) => JSON.stringify(found.at(-1)).includes('"total_tokens":0')],
    ['on_finish', (found: unknown[]) => found.filter((usage) => usage !== undefined).length === 1],
    ['repeated', (found: unknown[]) => found.filter((usage) => usage !== undefined).length === 6],
    ['twice', (found: unknown[]) => found.filter((usage) => usage !== null).length === 2],
  ] as const)('reports usage %s', async (usage, holds) => {
    const { text } = await stream({ usage, tokens: 5 });
    expect(holds(usages(text))).toBe(true);
  });

  it('counts reasoning inside completion as OpenAI, beside it as xAI', async () => {
    await stream({ tokens: 10, reasoningTokens: 7, promptTokens: 20, cachedTokens: 8 });
    await stream({ tokens: 10, reasoningTokens: 7, promptTokens: 20, isReasoningAdditive: true });
    const [openai, xai] = simulator.served();
    expect(openai?.usage).toMatchObject({ completion_tokens: 17, total_tokens: 37 });
    expect(openai?.usage?.prompt_tokens_details.cached_tokens).toBe(8);
    expect(xai?.usage).toMatchObject({ completion_tokens: 10, total_tokens: 37 });
  });

  it('fails with any status and retry-after, for the first calls of a storm only', async () => {
    simulator.script('sim-small', { fail: { status: 429, retryAfter: '2', firstCalls: 2 } });
    for (const expected of [429, 429]) {
      await expect(client.chat.completions.create(ask())).rejects.toMatchObject({ status: expected });
    }
    await expect(client.chat.completions.create(ask())).resolves.toBeDefined();
    expect(simulator.served().map((call) => call.outcome)).toEqual(['refused', 'refused', 'complete']);
  });

  it('plays one behaviour a call, then stays at the last', async () => {
    simulator.script('sim-small', { text: 'one' }, { text: 'two' });
    const texts: unknown[] = [];
    for (let i = 0; i < 3; i += 1) {
      texts.push((await client.chat.completions.create(ask())).choices[0]?.message.content);
    }
    expect(texts).toEqual(['one', 'two', 'two']);
  });

  it('resets before the headers, and after so many chunks', async () => {
    expect(await stream({ resetAt: 'headers' })).toMatchObject({ status: 0, text: '' });
    const broken = await stream({ resetAt: 3 });
    expect(broken.error).toBeDefined();
    expect(simulator.served().map((call) => [call.outcome, call.contentChunks])).toEqual([
      ['reset', 0],
      ['reset', 3],
    ]);
  });

  it('ends without finish chunk and [DONE], or with an error event, when told', async () => {
    const cut = await stream({ endAt: 2 });
    expect(cut.text).not.toContain('[DONE]');
    expect(cut.text).not.toContain('"finish_reason":"stop"');
    const failed = await stream({ errorEventAt: 1, errorEventMessage: 'overloaded' });
    expect(dataLines(failed.text).slice(-1)[0]).toContain('"message":"overloaded"');
    expect(simulator.served().every((call) => call.outcome === 'cut_short')).toBe(true);
    const undone = await stream({ done: false });
    expect(undone.text).not.toContain('[DONE]');
    expect(simulator.served()[2]).toMatchObject({ outcome: 'complete', wasTerminalSent: false });
  });

  it('sees a client that leaves a hanging stream', async () => {
    const controller = new AbortController();
    const hanging = await client.chat.completions.create(
      { ...ask(), stream: true, ...({ x_simulate: { hangAt: 2 } } as object) },
      { signal: controller.signal },
    );
    let chunks = 0;
    for await (const chunk of hanging) {
      if ((chunk.choices[0]?.delta.content ?? '') !== '') chunks += 1;
      if (chunks === 2) controller.abort();
    }
    await simulator.idle();
    expect(simulator.served()[0]).toMatchObject({
      outcome: 'client_aborted',
      contentChunks: 2,
      wasTerminalSent: false,
    });
  });

  it('cuts the body anywhere, also inside a character, without changing a byte', async () => {
    const script = { text: 'naïve 価格 🙂', lineEnding: '\r\n', comments: true } as const;
    simulator.script('sim-small', script);
    const plain = await stream({});
    const sliced = await stream({ sliceBytes: [1, 2, 3] });
    const split = await stream({ splitAtByte: 40 });
    const timeless = (text: string): string => text.replace(/"id":"[^"]+"|"created":\d+/g, '');
    expect(timeless(sliced.text)).toBe(timeless(plain.text));
    expect(timeless(split.text)).toBe(timeless(plain.text));
    expect(split.chunks[0]?.length).toBe(40);
    expect(sliced.chunks.length).toBeGreaterThan(plain.chunks.length);
    expect(plain.text).toContain('\r\n\r\n');
    expect(plain.text).toContain(': keep-alive');
  });

  it('replays recorded frames and reads the usage they report', async () => {
    const frames = ['{"choices":[{"delta":{"content":"a"}}]}', '{"choices":[],"usage":{"total_tokens":9}}'];
    const { text } = await stream({ frames });
    expect(dataLines(text)).toEqual([...frames, '[DONE]']);
    expect(simulator.served()[0]?.usage).toEqual({ total_tokens: 9 });
  });

  it('sends garbage where told: a frame, or a whole body', async () => {
    const { text } = await stream({ garbageAt: 1 });
    const broken = dataLines(text).filter((line) => line !== '[DONE]' && !line.endsWith('}'));
    expect(broken).toHaveLength(1);
    expect(await post({ ...ask(), x_simulate: { body: '<html>', contentType: 'text/html' } })).toMatchObject({
      status: 200,
      text: '<html>',
    });
  });

  it('refuses a misspelt directive, naming the field', async () => {
    const answer = await post({ ...ask(), x_simulate: { hangsAt: 1 } });
    expect(answer.status).toBe(400);
    expect(answer.text).toContain('hangsAt');
    expect(() => {
      simulator.script('m', { tokens: -1 });
    }).toThrow('tokens');
  });

  it('is scripted and read over HTTP by tests of another process', async () => {
    const scripted = await fetch(`${simulator.url}/__script`, {
      method: 'POST',
      body: JSON.stringify({ model: 'far', behaviours: [{ text: 'scripted', tag: 'far-1' }] }),
    });
    expect(scripted.status).toBe(200);
    await client.chat.completions.create(ask('hi', 'far'), { headers: { 'x-request-id': 'trace-1' } });
    const log = (await (await fetch(`${simulator.url}/__served`)).json()) as { data: unknown[] };
    expect(log.data).toMatchObject([{ tag: 'far-1', traceHeader: 'trace-1', model: 'far', text: 'scripted' }]);
    expect(JSON.stringify(log)).not.toContain('sk-any');
  });
});
