import { NO_TOKENS } from '../../../catalogue/price';
import type { NeutralEvent } from '../neutral/neutral-event';
import { ChatEventParser, eventsOfCompletion } from './chat-events';

function parse(...frames: object[]): readonly NeutralEvent[] {
  const parser = new ChatEventParser();
  return [...frames.flatMap((frame) => parser.parse({ ...frame })), ...parser.end()];
}

const delta = (more: object, finish?: string): object => ({
  id: 'chat-1',
  model: 'm',
  created: 7,
  choices: [{ index: 0, delta: more, ...(finish === undefined ? {} : { finish_reason: finish }) }],
});
const call = (...calls: object[]): object => delta({ tool_calls: calls });

/** Each block as its kind, what opened it and its text, in the order they begin; then the finish. */
function told(events: readonly NeutralEvent[]): unknown[] {
  const blocks: unknown[][] = [];
  const tail: unknown[] = [];
  for (const event of events) {
    if (event.type === 'block_start') {
      const { content } = event;
      blocks.push(content.kind === 'tool_call' ? [content.callId, content.name, ''] : [content.kind, '']);
    } else if (event.type === 'delta') {
      const block = blocks[event.block] ?? [];
      block.push(`${block.pop() as string}${event.text}`);
    } else if (event.type === 'finish') tail.push(event.reason);
  }
  return [...blocks, ...tail];
}

/** Blocks begin in order, are written only while open, and are all ended before the finish. */
function expectWellFormed(events: readonly NeutralEvent[]): void {
  const open = new Set<number>();
  let begun = 0;
  expect(events[0]?.type).toBe('start');
  expect(events.at(-1)?.type).toBe('end');
  for (const event of events) {
    if (event.type === 'block_start') {
      expect(event.block).toBe(begun++);
      open.add(event.block);
    } else if ('block' in event) expect(open).toContain(event.block);
    if (event.type === 'block_end') open.delete(event.block);
    if (event.type === 'finish') expect(open.size).toBe(0);
  }
}

describe('ChatEventParser', () => {
  it('tells start, text, finish, usage and end, in this order', () => {
    const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 };
    expect(
      parse(delta({ role: 'assistant', content: '' }), delta({ content: 'Hel' }), delta({ content: 'lo' }, 'length'), {
        choices: [],
        usage,
      }),
    ).toEqual([
      { type: 'start', id: 'chat-1', model: 'm', createdSeconds: 7 },
      { type: 'block_start', block: 0, content: { kind: 'text' } },
      { type: 'delta', block: 0, text: 'Hel' },
      { type: 'delta', block: 0, text: 'lo' },
      { type: 'block_end', block: 0 },
      { type: 'finish', reason: 'length' },
      { type: 'usage', tokens: { ...NO_TOKENS, inputUncached: 3, output: 2 } },
      { type: 'end' },
    ]);
  });

  it('is an empty answer where nothing was said', () => {
    expect(parse()).toEqual([
      { type: 'start', id: '', model: '' },
      { type: 'finish', reason: 'stop' },
      { type: 'end' },
    ]);
  });

  it('does not begin with the frame that tells only of filters', () => {
    const events = parse(
      { id: '', model: '', choices: [], prompt_filter_results: [] },
      delta({ content: 'a' }, 'stop'),
    );
    expect(events[0]).toEqual({ type: 'start', id: 'chat-1', model: 'm', createdSeconds: 7 });
  });

  it('hears the first choice alone', () => {
    const other = { choices: [{ index: 1, delta: { content: 'no' }, finish_reason: 'length' }] };
    expect(told(parse(delta({ content: 'yes' }), other, delta({}, 'stop')))).toEqual([['text', 'yes'], 'stop']);
  });

  it('reads thoughts under either name, once', () => {
    for (const thought of [
      { reasoning_content: 't' },
      { reasoning: 't' },
      { reasoning_content: 't', reasoning: 't' },
    ]) {
      const events = parse(delta(thought), delta({ ...thought, content: '' }), delta({ content: 'a' }, 'stop'));
      expectWellFormed(events);
      expect(told(events)).toEqual([['reasoning', 'tt'], ['text', 'a'], 'stop']);
    }
  });

  it('reads thoughts and text from a list of parts', () => {
    const thinking = [{ type: 'text', text: 'hm' }];
    const content = [
      { type: 'thinking', thinking },
      { type: 'text', text: 'a' },
    ];
    expect(told(parse(delta({ content }, 'stop')))).toEqual([['reasoning', 'hm'], ['text', 'a'], 'stop']);
  });

  it('reads thoughts with their signatures, whether told with the text or after it', () => {
    const together = [
      delta({ reasoning: 'hm', reasoning_details: [{ type: 'reasoning.text', text: 'hm', index: 0 }] }),
      delta({ reasoning: null, reasoning_details: [{ type: 'reasoning.text', signature: 'sig', index: 0 }] }),
    ];
    const after = [
      delta({ reasoning_content: 'hm' }),
      delta({ reasoning_details: [{ type: 'reasoning.text', text: 'hm', signature: 'sig', index: 0 }] }),
    ];
    for (const frames of [together, after]) {
      const data = { type: 'reasoning.encrypted', data: 'dark', index: 1 };
      const events = parse(...frames, delta({ reasoning_details: [data] }), delta({ content: 'a' }, 'stop'));
      expectWellFormed(events);
      expect(told(events)).toEqual([['reasoning', 'hm'], ['redacted_reasoning', ''], ['text', 'a'], 'stop']);
      expect(events).toContainEqual({ type: 'signature', block: 0, signature: 'sig' });
      const redacted = { kind: 'redacted_reasoning', data: 'dark' };
      expect(events).toContainEqual({ type: 'block_start', block: 1, content: redacted });
    }
  });

  it('reads a refusal as one, also where the reason to end is stop', () => {
    const events = parse(delta({ refusal: 'I can' }), delta({ refusal: 'not' }), delta({}, 'stop'));
    expect(told(events)).toEqual([['refusal', 'I cannot'], 'refusal']);
  });

  it('puts streamed calls together, one after the other', () => {
    const events = parse(
      delta({ content: 'Wait' }),
      call({ index: 0, id: 'a', type: 'function', function: { name: 'f', arguments: '' } }),
      call({ index: 0, function: { arguments: '{"x"' } }),
      call({ index: 0, function: { arguments: ':1}' } }),
      call({ index: 1, id: 'b', type: 'function', function: { name: 'g', arguments: '' } }),
      call({ index: 1, function: { arguments: '{}' } }),
      delta({}, 'tool_calls'),
    );
    expectWellFormed(events);
    expect(told(events)).toEqual([['text', 'Wait'], ['a', 'f', '{"x":1}'], ['b', 'g', '{}'], 'tool_calls']);
    const order = events.filter(({ type }) => type === 'block_start' || type === 'block_end').map(({ type }) => type);
    expect(order).toEqual(['block_start', 'block_end', 'block_start', 'block_end', 'block_start', 'block_end']);
  });

  it('puts calls together that are written by turns', () => {
    const events = parse(
      call({ index: 0, id: 'a', function: { name: 'f', arguments: '{"x' } }),
      call({ index: 1, id: 'b', function: { name: 'g', arguments: '{"y' } }),
      call({ index: 0, function: { arguments: '":1}' } }, { index: 1, function: { arguments: '":2}' } }),
      delta({}, 'tool_calls'),
    );
    expectWellFormed(events);
    expect(told(events)).toEqual([['a', 'f', '{"x":1}'], ['b', 'g', '{"y":2}'], 'tool_calls']);
  });

  it.each([
    ['repeats id and name', { id: 'a', function: { name: 'f' } }],
    ['leaves the name empty', { function: { name: '' } }],
    ['makes up a new id for each piece', { id: 'other', function: {} }],
  ])('takes pieces for one call where the provider %s', (_, more) => {
    const piece = (text: string): object =>
      call({ index: 0, ...more, function: { ...(more as { function: object }).function, arguments: text } });
    const opening = call({ index: 0, id: 'a', function: { name: 'f', arguments: '' } });
    expect(told(parse(opening, piece('{"x":'), piece('1}'), piece(''), delta({}, 'tool_calls')))).toEqual([
      ['a', 'f', '{"x":1}'],
      'tool_calls',
    ]);
  });

  it('takes a name that comes in pieces', () => {
    const events = parse(
      call({ index: 0, id: 'a', function: { name: 'get_' } }),
      call({ index: 0, function: { name: 'weather' } }),
      call({ index: 0, function: { arguments: '{}' } }),
    );
    expect(told(events)).toEqual([['a', 'get_weather', '{}'], 'tool_calls']);
  });

  it.each([
    [
      'the same index for all',
      [
        { index: 0, id: 'a' },
        { index: 0, id: 'b' },
      ],
    ],
    ['no index', [{ id: 'a' }, { id: 'b' }]],
    ['neither index nor id', [{}, {}]],
    ['the same index and no id', [{ index: 0 }, { index: 0 }]],
  ])('tells whole calls apart that have %s', (_, [first, second]) => {
    const whole = (more: object | undefined, x: number): object => ({
      ...more,
      function: { name: 'f', arguments: `{"x":${x}}` },
    });
    for (const frames of [[call(whole(first, 1), whole(second, 2))], [call(whole(first, 1)), call(whole(second, 2))]]) {
      const events = parse(...frames, delta({}, 'stop'));
      expectWellFormed(events);
      expect(told(events)).toEqual([
        [expect.any(String), 'f', '{"x":1}'],
        [expect.any(String), 'f', '{"x":2}'],
        'tool_calls',
      ]);
      const ids = events.flatMap((event) =>
        event.type === 'block_start' && event.content.kind === 'tool_call' ? [event.content.callId] : [],
      );
      expect(new Set(ids).size).toBe(2);
      for (const id of ids) expect(id).toMatch(/^[\w-]+$/);
    }
  });

  it('hears a call without arguments, and one in the old form', () => {
    expect(told(parse(call({ index: 0, id: 'a', function: { name: 'f' } }), delta({}, 'tool_calls')))).toEqual([
      ['a', 'f', ''],
      'tool_calls',
    ]);
    const old = parse(
      delta({ function_call: { name: 'f', arguments: '{' } }),
      delta({ function_call: { arguments: '}' } }, 'function_call'),
    );
    expect(told(old)).toEqual([['call_chat-1_0', 'f', '{}'], 'tool_calls']);
  });

  it('reads calls of tools that take text', () => {
    const events = parse(
      call({ index: 0, id: 'a', type: 'custom', custom: { name: 'sql', input: 'SEL' } }),
      call({ index: 0, custom: { input: 'ECT' } }),
    );
    expect(told(events)).toEqual([['a', 'sql', 'SELECT'], 'tool_calls']);
    expect(events[1]).toMatchObject({ content: { kind: 'tool_call', tool: 'custom' } });
  });

  it('reads text after calls, and citations', () => {
    const url_citation = { url: 'https://a.example', title: 'A', start_index: 0, end_index: 1 };
    const events = parse(
      call({ index: 0, id: 'a', function: { name: 'f', arguments: '{}' } }),
      delta({ content: 'b' }),
      delta({ annotations: [{ type: 'url_citation', url_citation }] }, 'stop'),
    );
    expectWellFormed(events);
    expect(told(events)).toEqual([['a', 'f', '{}'], ['text', 'b'], 'tool_calls']);
    expect(events).toContainEqual({ type: 'citation', block: 1, citation: { url: 'https://a.example', title: 'A' } });
  });

  it.each([
    ['stop', 'stop'],
    ['length', 'length'],
    ['content_filter', 'content_filter'],
    ['model_length', 'length'],
    ['insufficient_system_resource', 'length'],
    ['eos', 'stop'],
    ['constructor', 'stop'],
  ])('takes the reason %s for %s', (said, reason) => {
    expect(told(parse(delta({ content: 'a' }, said))).at(-1)).toBe(reason);
  });

  it('lets nothing in a frame break it', () => {
    const odd = [null, 7, 'x', [], {}, [null], [7], [{}]];
    for (const value of odd) {
      const deltas = ['content', 'refusal', 'reasoning_content', 'reasoning_details', 'annotations', 'tool_calls'];
      const frames = deltas.map((field) => delta({ [field]: value }));
      const calls = ['id', 'index', 'function', 'custom'].map((field) => call({ [field]: value }));
      expectWellFormed(parse({ choices: value }, { choices: [{ delta: value }] }, ...frames, ...calls));
    }
  });
});

describe('eventsOfCompletion', () => {
  it('tells a whole answer as if it had been streamed', () => {
    const message = {
      role: 'assistant',
      content: 'Wait',
      reasoning_content: 'hm',
      reasoning_details: [{ type: 'reasoning.text', text: 'hm', signature: 's', index: 0 }],
      tool_calls: [
        { id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } },
        { id: 'b', type: 'function', function: { name: 'f', arguments: '' } },
      ],
    };
    const events = eventsOfCompletion({
      id: 'chat-1',
      model: 'm',
      created: 7,
      choices: [{ index: 0, message, finish_reason: 'tool_calls' }],
      usage: { prompt_tokens: 3, completion_tokens: 2 },
    });
    expectWellFormed(events);
    expect(told(events)).toEqual([
      ['reasoning', 'hm'],
      ['text', 'Wait'],
      ['a', 'f', '{}'],
      ['b', 'f', ''],
      'tool_calls',
    ]);
    expect(events.at(-2)).toEqual({ type: 'usage', tokens: { ...NO_TOKENS, inputUncached: 3, output: 2 } });
  });
});
