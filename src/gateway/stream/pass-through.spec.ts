import fc from 'fast-check';
import { NO_TOKENS } from '../../catalogue/price';
import { refuse } from '../../kernel/errors';
import { dialectPump } from '../../../test/support/dialect-pump';
import { extent } from '../../../test/support/extent';
import { type PumpHarness } from '../../../test/support/pump-harness';
import { type RecordedCall, recordedCalls } from '../../../test/support/recorded-streams';
import { guardOf, HOLD, ScriptedCharge } from '../../../test/support/guard-harness';
import { type ApiDialect } from '../../upstreams/upstream.port';

const SEED = 20_261_121;
const SPLITS = extent(10, 200);

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

type Event = Readonly<Record<string, unknown>> & { readonly type: string };
const frame = (event: Event, lineEnd = '\n'): string =>
  `event: ${event.type}${lineEnd}data: ${JSON.stringify(event)}${lineEnd}${lineEnd}`;
const framesIn = (text: string): string[] => text.split(/(?<=\n\n)/);
const eventsIn = (text: string): Event[] =>
  [...text.matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data ?? '') as Event);

async function opened(...[dialect, options]: Parameters<typeof dialectPump>): Promise<PumpHarness> {
  const harness = dialectPump(dialect, options);
  await settled();
  return harness;
}

function feed({ pump }: PumpHarness, ...frames: readonly string[]): void {
  for (const text of frames) pump.onData(Buffer.from(text));
}

const started = {
  type: 'message_start',
  message: { id: 'msg_1', model: 'theirs', content: [], usage: { input_tokens: 9, output_tokens: 1 } },
};
const text = (delta: string, index = 0): string =>
  frame({ type: 'content_block_delta', index, delta: { type: 'text_delta', text: delta } });
const blockStart = (index = 0): string =>
  frame({ type: 'content_block_start', index, content_block: { type: 'text', text: '' } });
const blockStop = (index = 0): string => frame({ type: 'content_block_stop', index });
const MESSAGE_DELTA = frame({ type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 2 } });
const MESSAGE_STOP = frame({ type: 'message_stop' });

describe('a message to an Anthropic client', () => {
  const passing = { wire: 'anthropic-messages' } as const;

  it('is shown under the client’s name of the model, every other byte as it came', async () => {
    const harness = await opened('anthropic-messages', { ...passing, isAliased: true });
    const talk = blockStart() + text('the model is "theirs", {"model":"theirs"}');
    feed(harness, frame({ ...started, odd: { model: 'theirs' } }), talk);
    const renamed = { ...started, message: { ...started.message, model: 'ours' }, odd: { model: 'theirs' } };
    expect(harness.client.received).toBe(frame(renamed) + talk);
  });

  it('is renamed also where its data spans lines, and keeps the event’s name', async () => {
    const harness = await opened('anthropic-messages', { ...passing, isAliased: true });
    const start = 'event: message_start\ndata: {"type":"message_start",\ndata: "message":{"model":"theirs"}}\n\n';
    feed(harness, start, blockStart());
    expect(harness.client.received).toBe(
      `event: message_start\ndata: {"type":"message_start","message":{"model":"ours"}}\n\n${blockStart()}`,
    );
  });

  it('is not ended before its settle, and then by its provider’s own last frame', async () => {
    const harness = await opened('anthropic-messages', passing);
    const stop = 'event: message_stop\ndata: {"type":"message_stop","theirs":true}\n\n';
    feed(harness, frame(started), blockStart(), text('a'), blockStop(), MESSAGE_DELTA, stop);
    expect((await harness.pump.ended).reason).toBe('complete');
    expect(harness.client.received).not.toContain('message_stop');
    const last = harness.pump.lastBytes('tollgate cost_usd=1');
    expect(harness.pump.lastBytes('tollgate cost_usd=1')).toEqual(last);
    harness.pump.finish('tollgate cost_usd=1');
    expect(framesIn(harness.client.received).slice(-2)).toEqual([': tollgate cost_usd=1\n\n', stop]);
  });

  it('that is whole without its last frame gets one', async () => {
    const harness = await opened('anthropic-messages', passing);
    feed(harness, frame(started), blockStart(), text('a'), blockStop(), MESSAGE_DELTA);
    harness.pump.onEnd();
    expect((await harness.pump.ended).reason).toBe('complete');
    harness.pump.finish();
    expect(framesIn(harness.client.received).at(-1)).toBe(MESSAGE_STOP);
  });

  it.each(['data: [DONE]\n\n', text('{"type":"message_stop"}'), text('[DONE]')])(
    'is not taken for ended by %j',
    async (words) => {
      const harness = await opened('anthropic-messages', passing);
      feed(harness, frame(started), blockStart(), words);
      harness.pump.onEnd();
      expect((await harness.pump.ended).reason).toBe('upstream_broke');
    },
  );

  it('tells an error as an event of that name, and does not end well after it', async () => {
    const harness = await opened('anthropic-messages', passing);
    const error = { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded, account 7' } };
    feed(harness, frame(started), blockStart(), text('a'), frame(error));
    expect(await harness.pump.ended).toMatchObject({ reason: 'upstream_error_event', answer: { chunks: 1 } });
    harness.pump.fail(refuse('UPSTREAM_ERROR'));
    expect(framesIn(harness.client.received).at(-1)).toBe(
      'event: error\ndata: {"type":"error","error":{"code":"UPSTREAM_ERROR"}}\n\n',
    );
    expect(harness.client.received).not.toMatch(/account 7|message_stop/);
  });
});

const response = { id: 'resp_1', object: 'response', model: 'theirs', status: 'in_progress', output: [] };
const word = (delta: string): string =>
  frame({ type: 'response.output_text.delta', item_id: 'm1', output_index: 0, content_index: 0, delta });
const usage = { input_tokens: 5, output_tokens: 2, total_tokens: 7 };
const completed = { type: 'response.completed', response: { ...response, status: 'completed', usage } };

describe('a response to a client of responses', () => {
  const passing = { wire: 'openai-responses' } as const;

  it('is shown under the client’s name of the model wherever it is shown as a whole', async () => {
    const harness = await opened('openai-responses', { ...passing, isAliased: true });
    const opening = ['response.created', 'response.in_progress'].map((type) => ({ type, response }));
    feed(harness, ...opening.map((event) => frame(event)), word('theirs'), frame(completed));
    await harness.pump.ended;
    expect(harness.client.received).not.toContain('response.completed');
    harness.pump.finish('tollgate cost_usd=1');
    const shown = eventsIn(harness.client.received) as { type: string; response?: { model: string } }[];
    expect(shown.map((event) => event.response?.model)).toEqual(['ours', 'ours', undefined, 'ours']);
    expect(framesIn(harness.client.received).slice(-2)).toEqual([
      ': tollgate cost_usd=1\n\n',
      frame({ ...completed, response: { ...completed.response, model: 'ours' } }),
    ]);
  });

  it('is ended by an incomplete one likewise', async () => {
    const harness = await opened('openai-responses', passing);
    const incomplete = frame({ ...completed, type: 'response.incomplete' });
    feed(harness, frame({ type: 'response.created', response }), word('a'), incomplete);
    expect((await harness.pump.ended).reason).toBe('complete');
    harness.pump.finish();
    expect(framesIn(harness.client.received).at(-1)).toBe(incomplete);
  });

  it.each(['response.failed', 'error'])('is broken by %s, whose words are not shown', async (type) => {
    const harness = await opened('openai-responses', passing);
    const failed = {
      type,
      response: { ...response, error: { code: 'x', message: 'account 7' } },
      message: 'account 7',
    };
    feed(harness, frame({ type: 'response.created', response }), word('a'), frame(failed));
    expect((await harness.pump.ended).reason).toBe('upstream_error_event');
    harness.pump.fail(refuse('UPSTREAM_ERROR'));
    expect(harness.client.received).not.toContain('account 7');
    expect(framesIn(harness.client.received).at(-1)).toMatch(/^event: error\n/);
  });
});

describe.each([
  ['anthropic-messages', [started], { type: 'content_block_start', index: 0 }],
  [
    'openai-responses',
    ['response.created', 'response.queued', 'response.in_progress'].map((type) => ({ type, response: {} })),
    { type: 'response.output_item.added', output_index: 0, item: { type: 'message' } },
  ],
] as const)('what opens an answer of %s', (wire, opening, next) => {
  it('sends no head: another upstream may try where an error follows, or nothing', async () => {
    for (const isError of [true, false]) {
      const harness = await opened(wire, { wire });
      feed(harness, ...opening.map((event) => frame(event)));
      if (isError) feed(harness, frame({ type: 'error', error: { type: 'overloaded_error' } }));
      else harness.pump.onEnd();
      const { reason } = await harness.pump.ended;
      expect(reason).toBe(isError ? 'upstream_error_event' : 'upstream_broke');
      expect(harness.client).toMatchObject({ isOpened: false, received: '' });
    }
  });

  it('goes with what is said next', async () => {
    const harness = await opened(wire, { wire });
    const first = opening.map((event) => frame(event)).join('');
    feed(harness, first, frame(next));
    expect(harness.client.received).toBe(first + frame(next));
  });
});

describe('a message that the guard cuts', () => {
  const words = (count: number): string => Array.from({ length: count }, () => text('a', 1)).join('');
  const billed = { ...NO_TOKENS, inputUncached: 8, inputCached: 2, output: 100 };

  /** Its hold covers 100 tokens. */
  async function guarded(): Promise<PumpHarness> {
    return opened('anthropic-messages', {
      wire: 'anthropic-messages',
      pump: { guard: guardOf(new ScriptedCharge(HOLD)) },
    });
  }

  it('ends as if its maximum was reached: the open block, the reason, the usage, why, and its last frame', async () => {
    const harness = await guarded();
    feed(harness, frame(started) + blockStart() + text('b') + blockStop() + blockStart(1) + words(150));
    const { reason, deliveredChunks } = await harness.pump.ended;
    expect([reason, deliveredChunks]).toEqual(['guard_cut', 100]);
    const last = harness.pump.lastBytes('tollgate cost_usd=0.1', billed);
    expect(harness.pump.lastBytes('tollgate cost_usd=0.1', billed)).toEqual(last);
    expect(framesIn(last.toString())).toEqual([
      blockStop(1),
      frame({
        type: 'message_delta',
        delta: { stop_reason: 'max_tokens', stop_sequence: null },
        usage: {
          input_tokens: 8,
          cache_creation_input_tokens: 0,
          cache_read_input_tokens: 2,
          output_tokens: 100,
        },
      }),
      ': tollgate stream_guard=cut limit=balance\n\n',
      ': tollgate cost_usd=0.1\n\n',
      MESSAGE_STOP,
    ]);
  });

  it('between two blocks has none to end', async () => {
    const harness = await guarded();
    const pinged = words(100).replaceAll('"index":1', '"index":0') + blockStop() + frame({ type: 'ping' });
    feed(harness, frame(started) + blockStart() + pinged);
    const opening = { type: 'text', text: 'a'.repeat(500) };
    feed(harness, frame({ type: 'content_block_start', index: 1, content_block: opening }));
    expect((await harness.pump.ended).reason).toBe('guard_cut');
    expect(eventsIn(harness.pump.lastBytes(undefined, billed).toString()).map(({ type }) => type)).toEqual([
      'message_delta',
      'message_stop',
    ]);
  });
});

const DIALECT_OF: Readonly<Record<string, ApiDialect>> = {
  'anthropic-messages': 'anthropic-messages',
  'openai-responses': 'openai-responses',
  'openai-chat': 'openai-chat',
};
const TERMINAL = /^event: (?:message_stop|response\.(?:completed|incomplete))$|^data: \[DONE\]$/m;

const streams = recordedCalls()?.filter(({ isStream }) => isStream);

if (!streams) {
  it.skip('recorded streams of every dialect (no recordings beside the project)', () => undefined);
} else {
  it.each(streams)('$name passes byte for byte, its last frame held back, however it is split', async (call) => {
    const dialect = DIALECT_OF[call.dialect];
    if (!dialect) throw new Error(`${call.name} is of no dialect that is streamed`);
    const frames = framesIn(call.bytes.toString());
    const isWhole = TERMINAL.test(frames.at(-1) ?? '');
    const cuts = fc.array(fc.nat({ max: call.bytes.length }), { maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(cuts, async (offsets) => {
        const harness = await opened(dialect, { wire: dialect });
        passIn(harness, call, offsets);
        const { reason } = await harness.pump.ended;
        if (!isWhole) {
          expect(reason).toBe('upstream_error_event');
          return;
        }
        expect(reason).toBe('complete');
        expect(harness.client.received).toBe(frames.slice(0, -1).join(''));
        harness.pump.finish();
        expect(harness.client.received).toBe(call.bytes.toString());
      }),
      { seed: SEED, numRuns: SPLITS },
    );
  });
}

function passIn({ pump }: PumpHarness, { bytes }: RecordedCall, offsets: readonly number[]): void {
  const ends = [...new Set([...offsets, bytes.length])].sort((a, b) => a - b);
  for (const [at, end] of ends.entries()) pump.onData(bytes.subarray(ends[at - 1] ?? 0, end));
  pump.onEnd();
}

describe('a response that the guard cuts', () => {
  const item = { id: 'm1', type: 'message', role: 'assistant', status: 'in_progress', content: [] };
  const opening = [
    { type: 'response.created', response, sequence_number: 0 },
    { type: 'response.output_item.added', output_index: 0, item, sequence_number: 1 },
    {
      type: 'response.content_part.added',
      item_id: 'm1',
      output_index: 0,
      content_index: 0,
      part: { type: 'output_text', text: '', annotations: [] },
      sequence_number: 2,
    },
  ];
  const billed = { ...NO_TOKENS, inputUncached: 10, output: 100 };

  it.each([
    [150, 'a'.repeat(100)],
    [100, undefined],
  ])('is incomplete with all that was sent of it, once; %i words', async (count, sent) => {
    const harness = await opened('openai-responses', {
      wire: 'openai-responses',
      isAliased: true,
      pump: { guard: guardOf(new ScriptedCharge(HOLD)) },
    });
    const words = Array.from({ length: count }, () => word('a')).join('');
    feed(harness, opening.map((event) => frame(event)).join('') + words);
    if (sent === undefined) {
      feed(harness, frame(completed));
      expect((await harness.pump.ended).reason).toBe('complete');
      return;
    }
    expect((await harness.pump.ended).reason).toBe('guard_cut');
    const last = harness.pump.lastBytes('tollgate cost_usd=0.1', billed);
    expect(harness.pump.lastBytes('tollgate cost_usd=0.1', billed)).toEqual(last);
    const [textDone, partDone, itemDone, why, cost, end] = framesIn(last.toString());
    expect([textDone, partDone, itemDone].flatMap((ended) => eventsIn(ended ?? '')).map(({ type }) => type)).toEqual([
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
    ]);
    expect([why, cost]).toEqual([': tollgate stream_guard=cut limit=balance\n\n', ': tollgate cost_usd=0.1\n\n']);
    expect(eventsIn(end ?? '')).toMatchObject([
      {
        type: 'response.incomplete',
        response: {
          model: 'ours',
          output: [{ id: 'm1', status: 'incomplete', content: [{ text: sent }] }],
          usage: { input_tokens: 10, output_tokens: 100 },
        },
      },
    ]);
  });
});
