import OpenAI from 'openai';
import { openAiSchemas } from '../../support/openai-schemas';
import type { Behaviour } from '../behaviour';
import { type Simulator, startSimulator } from '../simulator';

type Body = OpenAI.ChatCompletionCreateParamsNonStreaming;

describe('the simulator as OpenAI’s chat', () => {
  const schemas = openAiSchemas();
  let simulator: Simulator;
  let client: OpenAI;

  beforeAll(async () => {
    simulator = await startSimulator();
    client = new OpenAI({ baseURL: `${simulator.url}/v1`, apiKey: 'sk-any', maxRetries: 0 });
  });
  afterAll(() => simulator.close());

  const ask = (more: Partial<Body> = {}): Body => ({
    model: 'chat-sim',
    messages: [{ role: 'user', content: 'Hello there' }],
    ...more,
  });

  interface Delta {
    readonly content?: string;
    readonly refusal?: string;
    readonly reasoning_content?: string;
    readonly reasoning_details?: readonly object[];
    readonly annotations?: readonly object[];
  }

  async function deltasOf(more: Partial<Body>): Promise<{ deltas: Delta[]; problems: string[]; reason: unknown }> {
    const deltas: Delta[] = [];
    const problems: string[] = [];
    let reason: unknown;
    for await (const chunk of await client.chat.completions.create({ ...ask(more), stream: true })) {
      problems.push(...(schemas?.problemsOf('CreateChatCompletionStreamResponse', chunk) ?? []));
      const [choice] = chunk.choices;
      if (choice) deltas.push(choice.delta as Delta);
      reason = choice?.finish_reason ?? reason;
    }
    return { deltas, problems, reason };
  }

  const joined = (deltas: readonly Delta[], field: 'content' | 'refusal' | 'reasoning_content'): string =>
    deltas.map((delta) => delta[field] ?? '').join('');

  it('thinks, proves it and cites, whole and streamed alike', async () => {
    const script: Behaviour = {
      reasoning: 'Let me think.',
      signature: 'sig-1',
      redactedReasoning: 'sealed',
      text: 'So it is.',
      citations: [{ url: 'https://a.example', title: 'A' }],
    };
    simulator.script('chat-sim', script);
    const whole = await client.chat.completions.create(ask());
    expect(whole.choices[0]?.message).toMatchObject({
      content: 'So it is.',
      reasoning_content: 'Let me think.',
      reasoning_details: [{ data: 'sealed' }, { signature: 'sig-1' }],
      annotations: [{ type: 'url_citation', url_citation: { url: 'https://a.example', title: 'A' } }],
    });
    const { deltas, problems } = await deltasOf({});
    expect(joined(deltas, 'reasoning_content')).toBe('Let me think.');
    expect(joined(deltas, 'content')).toBe('So it is.');
    expect(deltas.flatMap((delta) => delta.reasoning_details ?? [])).toMatchObject([
      { type: 'reasoning.encrypted', data: 'sealed' },
      { type: 'reasoning.text', signature: 'sig-1' },
    ]);
    expect(deltas.flatMap((delta) => delta.annotations ?? [])).toHaveLength(1);
    expect(problems).toEqual([]);
    expect(whole.usage?.completion_tokens_details?.reasoning_tokens).toBe(3);
  });

  it('refuses in words, and not in text', async () => {
    simulator.script('chat-sim', { refusal: 'I would rather not.' });
    const { deltas, problems, reason } = await deltasOf({});
    expect([joined(deltas, 'refusal'), joined(deltas, 'content'), reason]).toEqual(['I would rather not.', '', 'stop']);
    expect(problems).toEqual([]);
    const { choices } = await client.chat.completions.create(ask());
    expect(choices[0]?.message).toMatchObject({ content: null, refusal: 'I would rather not.' });
  });

  it('calls custom tools with any text', async () => {
    simulator.script('chat-sim', { toolCalls: [{ name: 'patch', arguments: '*** any text' }] });
    const tools: OpenAI.ChatCompletionTool[] = [{ type: 'custom', custom: { name: 'patch' } }];
    const { choices } = await client.chat.completions.create(ask({ tools }));
    expect(choices[0]?.message.tool_calls).toMatchObject([
      { type: 'custom', custom: { name: 'patch', input: '*** any text' } },
    ]);
    expect(choices[0]?.finish_reason).toBe('tool_calls');
  });

  it.each(['END', ['two', 'END']])('ends before a stop sequence (%j)', async (stop) => {
    simulator.script('chat-sim', { text: 'one END two' });
    const { choices } = await client.chat.completions.create(ask({ stop }));
    expect([choices[0]?.message.content, choices[0]?.finish_reason]).toEqual(['one ', 'stop']);
  });

  it('lists the images that came', async () => {
    simulator.script('chat-sim', { text: 'Seen.', echoesImages: true });
    const image = (url: string): OpenAI.ChatCompletionContentPart => ({ type: 'image_url', image_url: { url } });
    const data = `data:image/png;base64,${Buffer.from('12345').toString('base64')}`;
    const messages: Body['messages'] = [{ role: 'user', content: [image('https://a.example/i'), image(data)] }];
    const { choices } = await client.chat.completions.create(ask({ messages }));
    expect(choices[0]?.message.content).toBe('Seen. Images: https://a.example/i; image/png, 5 bytes.');
  });
});
