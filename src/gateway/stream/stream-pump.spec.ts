import { refuse } from '../../kernel/errors';
import { readEvents } from '../../../test/support/assembled-answer';
import {
  content,
  DONE,
  feed,
  frame,
  hasEnded,
  opened,
  RESET,
  STOP,
  USAGE,
  USAGE_ONLY,
} from '../../../test/support/chat-frames';
import { pumpHarness, ScriptedClient } from '../../../test/support/pump-harness';

describe('a stream before its gate opens', () => {
  it('sends not a byte, then all that came at once', async () => {
    const harness = pumpHarness({ gate: 'closed' });
    feed(harness, content('a'), content('b'));
    expect(harness.client.isOpened).toBe(false);
    harness.openGate();
    await new Promise((resolve) => {
      process.nextTick(resolve);
    });
    expect(readEvents(harness.client.received).events).toEqual([content('a'), content('b')]);
  });

  it('does not end, however complete: what is not durable is not settled', async () => {
    const harness = pumpHarness({ gate: 'closed' });
    feed(harness, content('a'), STOP, DONE);
    expect(await hasEnded(harness)).toBe(false);
    harness.openGate();
    expect(await harness.pump.ended).toMatchObject({ reason: 'complete', deliveredChunks: 2 });
    harness.pump.finish();
    expect(readEvents(harness.client.received)).toMatchObject({ events: [content('a'), STOP], isDone: true });
  });

  it('reads ahead a bounded amount', async () => {
    const harness = pumpHarness({ gate: 'closed' });
    const large = content('x'.repeat(10_000));
    for (let sent = 0; sent <= 64 * 1024; sent += large.length) {
      expect(harness.call.asked).toEqual([]);
      feed(harness, large);
    }
    expect(harness.call.asked).toEqual(['pause']);
    harness.openGate();
    await new Promise((resolve) => {
      process.nextTick(resolve);
    });
    expect(harness.call.asked).toEqual(['pause', 'resume']);
  });

  it.each(['while it runs', 'after it was complete'])('sends nothing when the gate refuses %s', async (when) => {
    const harness = pumpHarness({ gate: 'closed' });
    feed(harness, content('a'), ...(when === 'while it runs' ? [] : [STOP, DONE]));
    harness.openGate(refuse('BILLING_SERVICE_ERROR'));
    expect(await harness.pump.ended).toMatchObject({ reason: 'refused', deliveredChunks: 0 });
    expect(harness.call.asked).toContain('abort');
    expect(harness.client.isOpened).toBe(false);
    expect(() => harness.pump.finish()).toThrow('no clean end');
  });

  it('takes a gate that fails as one that refuses', async () => {
    const harness = pumpHarness({ firstByteGate: Promise.reject(new Error('lost')) });
    feed(harness, content('a'));
    expect(await harness.pump.ended).toMatchObject({ reason: 'refused', deliveredChunks: 0 });
  });
});

describe('a running stream', () => {
  it('passes the very memory of a chunk of whole frames', async () => {
    const harness = await opened();
    const written: Buffer[] = [];
    jest.spyOn(harness.client, 'write').mockImplementation((bytes) => written.push(bytes) > 0);
    const chunk = Buffer.concat([frame(content('a')), Buffer.from(': ping\n\n'), frame(content('b'))]);
    harness.pump.onData(chunk);
    expect(written[0]).toBe(chunk);
  });

  it('makes one write of one chunk, also when frames in its middle are taken out or changed', async () => {
    const harness = await opened();
    feed(
      harness,
      [content('a'), USAGE_ONLY, content('b'), content('c', { usage: USAGE }), content('d')]
        .map((e) => `data: ${e}\n\n`)
        .join(''),
    );
    expect(harness.client.writes).toHaveLength(1);
    expect(readEvents(harness.client.received).events).toEqual([
      content('a'),
      content('b'),
      content('c', { usage: null }),
      content('d'),
    ]);
  });

  it('pauses the upstream while the client is slow, and only then', async () => {
    const harness = await opened();
    feed(harness, content('a'));
    expect(harness.call.asked).toEqual([]);
    harness.client.reads = false;
    feed(harness, content('b'), content('c'));
    expect(harness.call.asked).toEqual(['pause']);
    harness.client.drain();
    expect(harness.call.asked).toEqual(['pause', 'resume']);
    feed(harness, content('d'));
    expect(harness.call.asked).toEqual(['pause', 'resume']);
  });

  it('remembers to pause or abort a call that is attached late', async () => {
    const harness = await opened();
    harness.pump.cut();
    harness.pump.attach(harness.call);
    expect(harness.call.asked).toEqual(['abort', 'abort']);
  });

  it.each<[boolean, string[]]>([
    [true, [content('a'), STOP, USAGE_ONLY]],
    [false, [content('a'), STOP]],
  ])('shows the usage frame: %s', async (showUsage, events) => {
    const harness = await opened({ showUsage });
    feed(harness, content('a'), STOP, USAGE_ONLY, DONE);
    const { answer } = await harness.pump.ended;
    harness.pump.finish();
    expect(readEvents(harness.client.received)).toMatchObject({ events, isDone: true });
    expect(answer.usage).toMatchObject({ inputUncached: 7, output: 2 });
  });

  it('hides usage in a frame whose data spans several lines', async () => {
    const harness = await opened();
    feed(
      harness,
      `data: {"choices":[{"index":0,"delta":{"content":"a"}}],\ndata: "usage":${JSON.stringify(USAGE)}}\n\n`,
    );
    expect(harness.client.received).toBe('data: {"choices":[{"index":0,"delta":{"content":"a"}}],"usage":null}\n\n');
  });

  it("gives every frame the client's name of the model, also when frames differ before it", async () => {
    const harness = await opened({ clientModel: 'mine', showUsage: true });
    const late = '{"created":1,"choices":[{"delta":{"content":"{\\"model\\":1}"}}],"model" : "theirs"}';
    feed(
      harness,
      content('a'),
      content('b'),
      late,
      late.replace(':1,', ':2,'),
      '{"choices":[]}',
      'data: no json\n\n',
      USAGE_ONLY,
    );
    expect(readEvents(harness.client.received).events).toEqual(
      [content('a'), content('b'), late, late.replace(':1,', ':2,'), '{"choices":[]}', 'no json', USAGE_ONLY].map(
        (event) => event.replace('"theirs"', '"mine"'),
      ),
    );
  });

  it('knows when the first byte came, by the clock', async () => {
    const clock = { nowMs: () => 0, monotonicMs: jest.fn(() => 41), offsetMs: 0 };
    const harness = await opened({ clock });
    clock.monotonicMs.mockReturnValue(42);
    feed(harness, content('a'));
    clock.monotonicMs.mockReturnValue(43);
    feed(harness, STOP, DONE);
    expect((await harness.pump.ended).firstByteAtMs).toBe(42);
  });
});

describe('the end of a stream', () => {
  it('holds the terminal frame back until it was settled, then says the cost in a comment', async () => {
    const harness = await opened();
    feed(harness, content('a'), STOP, DONE);
    const { reason, answer, deliveredChunks } = await harness.pump.ended;
    expect(reason).toBe('complete');
    expect(answer.isUsageFinal).toBe(true);
    expect(deliveredChunks).toBe(2);
    expect(harness.client.received).not.toContain('[DONE]');
    expect(harness.client.hasEnded).toBe(false);
    expect(harness.pump.finish('cost 0.1 USD\nbalance 2')).toBe(true);
    expect(harness.client.received.endsWith(`: cost 0.1 USD balance 2\n\n${DONE}`)).toBe(true);
    expect(harness.client.hasEnded).toBe(true);
  });

  it('is at [DONE], whatever follows and however late the connection ends', async () => {
    const harness = await opened();
    feed(harness, `data: ${STOP}\n\n${DONE}data: ${content('late')}\n\n`, content('later'));
    expect((await harness.pump.ended).reason).toBe('complete');
    harness.pump.onEnd();
    harness.pump.onFailure(RESET);
    harness.pump.finish();
    expect(readEvents(harness.client.received).events).toEqual([STOP]);
    expect(harness.call.asked).toEqual([]);
  });

  it.each<[string, string[], string, string]>([
    ['a finish reason', [content('a'), STOP], 'end', 'complete'],
    ['a finish reason and usage', [content('a'), STOP, USAGE_ONLY], 'end', 'complete'],
    ['usage alone', [content('a'), USAGE_ONLY], 'end', 'upstream_broke'],
    [
      'usage told on the way',
      [content('a', { usage: USAGE }), content('b', { usage: USAGE })],
      'end',
      'upstream_broke',
    ],
    ['neither', [content('a')], 'end', 'upstream_broke'],
    ['nothing at all', [], 'end', 'upstream_broke'],
    ['a finish reason, by a reset', [content('a'), STOP], 'reset', 'complete'],
    ['usage told on the way, by a reset', [content('a', { usage: USAGE })], 'reset', 'upstream_broke'],
    ['neither, by a reset', [content('a')], 'reset', 'upstream_broke'],
  ])('without [DONE] but with %s', async (_, events, how, reason) => {
    const harness = await opened();
    feed(harness, ...events);
    if (how === 'end') harness.pump.onEnd();
    else harness.pump.onFailure(RESET);
    expect(await harness.pump.ended).toMatchObject({ reason, failure: how === 'end' ? undefined : RESET });
  });

  it('needs a finish reason of every choice', async () => {
    for (const [choices, reason] of [
      [1, 'complete'],
      [2, 'upstream_broke'],
    ] as const) {
      const harness = await opened({ choices });
      feed(harness, content('a'), STOP);
      harness.pump.onEnd();
      expect((await harness.pump.ended).reason).toBe(reason);
    }
  });

  it('is whole with a closing usage after a finish reason, where a provider answers fewer choices than were asked', async () => {
    for (const [events, reason] of [
      [[content('a'), STOP, USAGE_ONLY], 'complete'],
      [[STOP, content('a', { usage: USAGE })], 'upstream_broke'],
      [[STOP, USAGE_ONLY, content('a')], 'upstream_broke'],
      [[content('a'), USAGE_ONLY, STOP], 'upstream_broke'],
    ] as const) {
      const harness = await opened({ choices: 2 });
      feed(harness, ...events);
      harness.pump.onEnd();
      expect([events, (await harness.pump.ended).reason]).toEqual([events, reason]);
    }
  });

  it('that broke while usage was told on every frame is an error to the client, and that usage is not the last word', async () => {
    const harness = await opened();
    feed(harness, content('a', { usage: USAGE }), content('b', { usage: USAGE }));
    harness.pump.onEnd();
    expect(await harness.pump.ended).toMatchObject({ reason: 'upstream_broke', answer: { isUsageFinal: false } });
    expect(() => harness.pump.finish()).toThrow('no clean end');
    harness.pump.fail(refuse('UPSTREAM_ERROR'));
    expect(readEvents(harness.client.received).isDone).toBe(false);
  });

  it.each<[string, string[], boolean]>([
    ['told with the finish reason', [content('a'), STOP.replace('}]}', `}],"usage":${JSON.stringify(USAGE)}}`)], true],
    ['told after the finish reason', [content('a'), STOP, USAGE_ONLY], true],
    ['told before it alone', [content('a', { usage: USAGE }), content('b'), STOP], false],
    ['told before it alone, with [DONE] at the end', [content('a', { usage: USAGE }), content('b'), STOP, DONE], true],
  ])('decides whether usage %s is the last word', async (_, events, isUsageFinal) => {
    const harness = await opened();
    feed(harness, ...events);
    harness.pump.onEnd();
    expect(await harness.pump.ended).toMatchObject({ reason: 'complete', answer: { isUsageFinal } });
  });

  it('takes a last frame that lacks its blank line, but not half a frame', async () => {
    for (const last of ['data: [DONE]', 'data: [DONE]\n', `data: ${STOP}`]) {
      const harness = await opened();
      feed(harness, content('a'), last);
      harness.pump.onEnd();
      expect((await harness.pump.ended).reason).toBe('complete');
    }
    const harness = await opened();
    feed(harness, content('a'), `data: ${STOP.slice(0, -2)}`);
    harness.pump.onEnd();
    expect((await harness.pump.ended).reason).toBe('upstream_broke');
    expect(readEvents(harness.client.received).events).toEqual([content('a')]);
  });

  it('after a break tells an error and is never clean; what was delivered is billed', async () => {
    const harness = await opened();
    feed(harness, content('Hello'), content(' world'), 'data: {"cho');
    harness.pump.onFailure(RESET);
    const { answer, deliveredChunks } = await harness.pump.ended;
    expect(deliveredChunks).toBe(2);
    expect(answer).toMatchObject({ isUsageFinal: false, chunks: 2, usage: undefined });
    expect(answer.text()).toEqual({ output: ['Hello world'], reasoning: [] });
    expect(() => harness.pump.finish()).toThrow('no clean end');
    harness.pump.fail(refuse('UPSTREAM_ERROR'));
    const { events, isDone } = readEvents(harness.client.received);
    expect(events.at(-1)).toBe('{"error":{"code":"UPSTREAM_ERROR"}}');
    expect(isDone).toBe(false);
    expect(harness.client.hasEnded).toBe(true);
  });

  it("keeps an upstream's error event from the client, and its text from the bill", async () => {
    const harness = await opened();
    feed(
      harness,
      `data: ${content('Hello')}\n\ndata: {"error":{"message":"key sk-secret is over its limit"}}\n\n`,
      content('x'),
    );
    const { reason, answer, accumulator } = await harness.pump.ended;
    expect(reason).toBe('upstream_error_event');
    expect(accumulator.errorEvent).toEqual({ message: 'key sk-secret is over its limit' });
    expect(answer.text()).toEqual({ output: ['Hello'], reasoning: [] });
    expect(harness.call.asked).toEqual(['abort']);
    harness.pump.fail(refuse('UPSTREAM_ERROR'));
    expect(harness.client.received).not.toContain('sk-secret');
    expect(harness.client.received).not.toContain('[DONE]');
  });

  it('with an error as its first frame leaves the client untouched, so that another upstream may try', async () => {
    const client = new ScriptedClient();
    const first = await opened({ client });
    feed(first, '{"error":{"message":"overloaded"}}');
    expect(await first.pump.ended).toMatchObject({ reason: 'upstream_error_event', deliveredChunks: 0 });
    expect(client.isOpened).toBe(false);
    const second = await opened({ client });
    feed(second, content('a'), STOP, DONE);
    expect((await second.pump.ended).reason).toBe('complete');
    client.reads = false;
    client.drain();
    expect(first.call.asked).toEqual(['abort']);
  });

  it('is no answer where it is nothing but its end: the client is untouched, so that another upstream may try', async () => {
    const harness = pumpHarness();
    harness.pump.onData(Buffer.from(': processing\n\n'));
    feed(harness, DONE);
    expect(await harness.pump.ended).toMatchObject({ reason: 'upstream_broke', deliveredChunks: 0 });
    expect(harness.client.isOpened).toBe(false);
  });

  it.each([
    ['a reason to end', STOP],
    ['a usage', USAGE_ONLY],
  ])('is an answer, however short, with %s', async (_, event) => {
    const harness = await opened();
    feed(harness, event, DONE);
    expect((await harness.pump.ended).reason).toBe('complete');
  });

  it('takes a picture that comes in one frame, in many pieces', async () => {
    const harness = await opened();
    const url = 'A'.repeat(6 * 1024 * 1024);
    const picture = JSON.stringify({ choices: [{ index: 0, delta: { images: [{ url }] } }] });
    const bytes = frame(picture);
    for (let at = 0; at < bytes.length; at += 65_536) harness.pump.onData(bytes.subarray(at, at + 65_536));
    feed(harness, STOP, DONE);
    expect(await harness.pump.ended).toMatchObject({ reason: 'complete' });
    expect(readEvents(harness.client.received).events.includes(picture)).toBe(true);
  });

  it('breaks a frame that never ends', async () => {
    const harness = await opened();
    const piece = Buffer.alloc(4 * 1024 * 1024, 'x');
    for (let sent = 0; sent < 5; sent++) harness.pump.onData(piece);
    expect(await harness.pump.ended).toMatchObject({ reason: 'upstream_broke', failure: { kind: 'reset' } });
    expect(harness.call.asked).toEqual(['abort']);
  });

  it('at shutdown cuts the upstream and bills what was delivered', async () => {
    const harness = await opened();
    feed(harness, content('a'));
    harness.pump.cut();
    feed(harness, content('b'));
    const { reason, answer } = await harness.pump.ended;
    expect([reason, answer.chunks]).toEqual(['cut_by_shutdown', 1]);
    expect(harness.call.asked).toEqual(['abort']);
    harness.pump.fail(refuse('SHUTTING_DOWN'));
    expect(harness.client.received).toContain('SHUTTING_DOWN');
  });

  it('is closed once, and not before it ended', async () => {
    const harness = await opened();
    expect(() => harness.pump.finish()).toThrow();
    expect(() => harness.pump.fail(refuse('UPSTREAM_ERROR'))).toThrow('after it ended');
    feed(harness, STOP, DONE);
    await harness.pump.ended;
    harness.pump.finish();
    expect(() => harness.pump.finish()).toThrow('once');
    expect(() => harness.pump.fail(refuse('UPSTREAM_ERROR'))).toThrow('once');
  });
});
