import Anthropic from '@anthropic-ai/sdk';
import type { Behaviour } from '../behaviour';
import { type Simulator, startSimulator } from '../simulator';

type Body = Anthropic.MessageCreateParamsNonStreaming;

describe('the simulator as Anthropic', () => {
  let simulator: Simulator;
  let client: Anthropic;

  beforeAll(async () => {
    simulator = await startSimulator();
    client = new Anthropic({ baseURL: simulator.url, apiKey: 'sk-ant-any', maxRetries: 0 });
  });
  afterAll(() => simulator.close());
  beforeEach(() => {
    simulator.reset();
  });

  const ask = (more: Partial<Body> = {}): Body => ({
    model: 'claude-sim',
    max_tokens: 500,
    messages: [{ role: 'user', content: 'Hello there' }],
    ...more,
  });

  const post = (body: object): Promise<Response> =>
    fetch(`${simulator.url}/v1/messages`, {
      method: 'POST',
      headers: { 'x-api-key': 'sk-ant-any', 'anthropic-version': '2023-06-01' },
      body: JSON.stringify(body),
    });

  async function eventsOf(behaviour: Behaviour): Promise<{ event: string; data: { type: string } }[]> {
    const answer = await post({ ...ask(), stream: true, x_simulate: behaviour });
    return (await answer.text())
      .split('\n\n')
      .filter((block) => block !== '')
      .map((block) => {
        const [event = '', data = ''] = block.split('\n');
        return {
          event: event.slice('event: '.length),
          data: JSON.parse(data.slice('data: '.length)) as { type: string },
        };
      });
  }

  it('streams the message that it answers whole, with the events of Anthropic in their order', async () => {
    const script: Behaviour = {
      redactedReasoning: 'c2VhbGVk',
      reasoning: 'Let me think.',
      signature: 'sig-1',
      text: 'Two things then.',
      toolCalls: [
        { name: 'weather', arguments: '{"city":"Malmö"}' },
        { name: 'time', arguments: '{}' },
      ],
      citations: [{ url: 'https://a.example', title: 'A' }],
    };
    simulator.script('claude-sim', script);
    const whole = await client.messages.create(ask());
    const streamed = await client.messages.stream(ask()).finalMessage();
    const plain = (content: unknown): unknown => JSON.parse(JSON.stringify(content).replace(/_sim_\d+/g, '_sim'));
    expect(plain(streamed.content)).toEqual(plain(whole.content));
    expect(whole.content.map(({ type }) => type)).toEqual([
      'redacted_thinking',
      'thinking',
      'text',
      'tool_use',
      'tool_use',
    ]);
    expect(whole.content[1]).toMatchObject({ thinking: 'Let me think.', signature: 'sig-1' });
    expect([streamed.stop_reason, whole.stop_reason]).toEqual(['tool_use', 'tool_use']);
    expect(streamed.usage.output_tokens).toBe(whole.usage.output_tokens);
    const events = await eventsOf({ ...script, redactedReasoning: 'x', text: 'One' });
    expect(events.every(({ event, data }) => event === data.type)).toBe(true);
    const order = events.map(({ event }) => event).filter((event, i, all) => event !== all[i - 1]);
    const block = ['content_block_start', 'content_block_delta', 'content_block_stop'];
    expect(order).toEqual([
      'message_start',
      ...['content_block_start', 'ping', 'content_block_stop'],
      ...[...block, ...block, ...block, ...block],
      ...['message_delta', 'message_stop'],
    ]);
  });

  it('tells usage as Anthropic does: input beside the cache, output provisional at first', async () => {
    const told = { promptTokens: 100, cachedTokens: 30, cacheWriteTokens: 20, completionTokens: 9 };
    const expected = {
      input_tokens: 50,
      cache_read_input_tokens: 30,
      cache_creation_input_tokens: 20,
      output_tokens: 9,
    };
    const events = await eventsOf(told);
    expect(events[0]).toMatchObject({ data: { message: { usage: { ...expected, output_tokens: 1 } } } });
    expect(events.at(-2)).toMatchObject({ event: 'message_delta', data: { usage: expected } });
    simulator.script('claude-sim', told);
    expect((await client.messages.create(ask())).usage).toMatchObject(expected);
    expect(simulator.served().map(({ usage }) => usage)).toMatchObject([
      { prompt_tokens: 100, completion_tokens: 9 },
      { prompt_tokens: 100, completion_tokens: 9 },
    ]);
    const silent = await eventsOf({ usage: 'omitted' });
    expect(JSON.stringify(silent)).not.toContain('usage');
  });

  it.each<[Behaviour, Partial<Body>, string, string | null]>([
    [{ text: 'done' }, {}, 'end_turn', null],
    [{ tokens: 9 }, { max_tokens: 5 }, 'max_tokens', null],
    [{ text: 'one END two' }, { stop_sequences: ['two', 'END'] }, 'stop_sequence', 'END'],
    [{ toolCalls: [{ name: 't', arguments: '{}' }] }, {}, 'tool_use', null],
    [{ refusal: 'I would rather not.' }, {}, 'refusal', null],
    [{ finishReason: 'pause_turn' }, {}, 'pause_turn', null],
  ])('stops for its reason (%j)', async (behaviour, more, reason, sequence) => {
    simulator.script('claude-sim', behaviour);
    const whole = await client.messages.create(ask(more));
    const streamed = await client.messages.stream(ask(more)).finalMessage();
    for (const { stop_reason, stop_sequence } of [whole, streamed]) {
      expect([stop_reason, stop_sequence]).toEqual([reason, sequence]);
    }
  });

  it('answers in the forced tool what is scripted as JSON, and as text without one', async () => {
    simulator.script('claude-sim', { json: '{"a":1}' });
    const tools = [{ name: 'answer', input_schema: { type: 'object' as const } }];
    const forced = await client.messages.create(ask({ tools, tool_choice: { type: 'tool', name: 'answer' } }));
    expect(forced.content).toMatchObject([{ type: 'tool_use', name: 'answer', input: { a: 1 } }]);
    expect((await client.messages.create(ask())).content).toMatchObject([{ type: 'text', text: '{"a":1}' }]);
  });

  it('lists the images that came, also those of tool results', async () => {
    simulator.script('claude-sim', { text: 'Seen.', echoesImages: true });
    const data = Buffer.from('12345').toString('base64');
    const image: Anthropic.ImageBlockParam = {
      type: 'image',
      source: { type: 'base64', media_type: 'image/png', data },
    };
    const { content } = await client.messages.create(
      ask({
        messages: [
          { role: 'user', content: [image, { type: 'image', source: { type: 'url', url: 'https://a.example/i' } }] },
          { role: 'assistant', content: [{ type: 'tool_use', id: 't1', name: 'look', input: {} }] },
          { role: 'user', content: [{ type: 'tool_result', tool_use_id: 't1', content: [image] }] },
        ],
      }),
    );
    expect(content).toMatchObject([
      { text: 'Seen. Images: image/png, 5 bytes; https://a.example/i; image/png, 5 bytes.' },
    ]);
  });

  it('counts tokens without using up what is scripted for calls', async () => {
    simulator.script('claude-sim', { promptTokens: 7 }, { promptTokens: 8 });
    simulator.script('claude-sim#count_tokens', { promptTokens: 42 });
    const { messages, model } = ask();
    expect(await client.messages.countTokens({ messages, model })).toEqual({ input_tokens: 42 });
    expect((await client.messages.create(ask())).usage.input_tokens).toBe(7);
    expect(simulator.served()[0]).toMatchObject({ url: '/v1/messages/count_tokens', usage: null, outcome: 'complete' });
  });

  it.each([
    [529, 'overloaded_error'],
    [429, 'rate_limit_error'],
    [400, 'invalid_request_error'],
    [401, 'authentication_error'],
    [500, 'api_error'],
  ])('fails with %i as Anthropic does', async (status, type) => {
    simulator.script('claude-sim', { fail: { status, retryAfter: '3' } });
    await expect(client.messages.create(ask())).rejects.toMatchObject({
      status,
      error: { type: 'error', error: { type } },
    });
  });

  it('ends a stream with an error event, or without its end, when told', async () => {
    const failed = await eventsOf({ errorEventAt: 2, errorEventMessage: 'busy' });
    expect(failed.at(-1)).toMatchObject({
      data: { type: 'error', error: { type: 'overloaded_error', message: 'busy' } },
    });
    const cut = await eventsOf({ endAt: 2 });
    expect(cut.map(({ event }) => event)).not.toContain('message_delta');
    const undone = await eventsOf({ done: false });
    expect(undone.at(-1)?.event).toBe('message_delta');
    expect(simulator.served().map(({ outcome }) => outcome)).toEqual(['cut_short', 'cut_short', 'complete']);
  });

  it('replays recorded frames under the names of their types', async () => {
    const frames = ['{"type":"message_start","message":{}}', '{"type":"message_stop"}'];
    const events = await eventsOf({ frames });
    expect(events.map(({ event, data }) => [event, JSON.stringify(data)])).toEqual([
      ['message_start', frames[0]],
      ['message_stop', frames[1]],
    ]);
  });

  it('writes down how it was called, without the credentials', async () => {
    await client.beta.messages.create({ ...ask(), betas: ['x-1'] });
    await fetch(`${simulator.url}/v1/messages?beta=true`, {
      method: 'POST',
      headers: { 'x-api-key': 'sk-ant-any', 'anthropic-version': '2023-06-01' },
      body: JSON.stringify(ask()),
    });
    const [first, second] = simulator.served();
    expect(first).toMatchObject({ wire: 'anthropic-messages', credentials: 'bearer' });
    expect(first?.headers['anthropic-beta']).toBe('x-1');
    expect(second).toMatchObject({ url: '/v1/messages?beta=true', credentials: 'x-api-key' });
    expect(JSON.stringify(simulator.served())).not.toMatch(/sk-/);
  });

  it('wants a key, and a version with it', async () => {
    const without = await fetch(`${simulator.url}/v1/messages`, { method: 'POST', body: JSON.stringify(ask()) });
    expect([without.status, await without.text()]).toEqual([401, expect.stringContaining('authentication_error')]);
    const unversioned = await fetch(`${simulator.url}/v1/messages`, {
      method: 'POST',
      headers: { 'x-api-key': 'k' },
      body: JSON.stringify(ask()),
    });
    expect([unversioned.status, await unversioned.text()]).toEqual([400, expect.stringContaining('anthropic-version')]);
  });

  const called = { role: 'assistant', content: [{ type: 'tool_use', id: 't1', name: 'look', input: {} }] };
  it.each([
    [{ max_tokens: undefined }, 'max_tokens'],
    [{ max_tokens: 0 }, 'max_tokens'],
    [{ messages: [] }, 'messages'],
    [{ messages: [{ role: 'system', content: 'x' }] }, 'messages.0.role'],
    [{ messages: [{ role: 'user', content: [{ type: 'text', text: '' }] }] }, 'messages.0.content.0.text'],
    [{ messages: [called] }, 'tool_use'],
    [{ messages: [called, { role: 'user', content: 'and?' }] }, 'tool_result'],
    [
      { messages: [{ role: 'user', content: [{ type: 'tool_result', tool_use_id: 'x' }] }] },
      'messages.0.content.0.tool_use_id',
    ],
    [{ messages: [{ role: 'assistant', content: [{ type: 'thinking', thinking: 'x' }] }] }, 'signature'],
    [{ thinking: { type: 'enabled', budget_tokens: 500 } }, 'budget_tokens'],
    [{ thinking: { type: 'enabled', budget_tokens: 2000 }, max_tokens: 2000 }, 'max_tokens'],
    [{ tools: [{ name: 't' }] }, 'input_schema'],
    [{ x_simulate: { usage: 'twice' }, stream: true }, 'usage'],
    [{ x_simulate: { nonsense: 1 } }, 'nonsense'],
  ])('refuses what Anthropic would (%j)', async (more, field) => {
    const answer = await post({ ...ask(), ...more });
    expect([answer.status, await answer.json()]).toMatchObject([
      400,
      { error: { type: 'invalid_request_error', message: expect.stringContaining(field) as string } },
    ]);
  });
});
