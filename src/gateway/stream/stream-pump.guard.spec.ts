import { NO_TOKENS } from '../../catalogue/price';
import { refuse } from '../../kernel/errors';
import { readEvents } from '../../../test/support/assembled-answer';
import { content, DONE, feed, frame, RESET, STOP, USAGE_ONLY } from '../../../test/support/chat-frames';
import { guardOf, HOLD, ScriptedCharge } from '../../../test/support/guard-harness';
import { pumpHarness, type PumpHarness } from '../../../test/support/pump-harness';

/** So many frames of one token each, in one piece of the network: the first is the role, which is none. */
function words(count: number): Buffer {
  const role = content('', { id: 'theirs-1', created: 7, system_fingerprint: 'fp' });
  return Buffer.concat([role, ...Array.from({ length: count }, () => content('a'))].map(frame));
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const shown = ({ client }: PumpHarness): string[] => readEvents(client.received).events;

/** A stream whose hold covers 100 tokens. */
async function guarded(
  options: Parameters<typeof pumpHarness>[0] & { balance?: bigint } = {},
): Promise<PumpHarness & { charge: ScriptedCharge }> {
  const { balance = HOLD, ...rest } = options;
  const charge = new ScriptedCharge(balance);
  const harness = pumpHarness({ ...rest, guard: guardOf(charge) });
  await settled();
  return { ...harness, charge };
}

const RICH = 10n ** 9n;

describe('a guarded stream', () => {
  it('passes the very memory of a chunk while what is held is enough', async () => {
    const harness = await guarded();
    const written: Buffer[] = [];
    jest.spyOn(harness.client, 'write').mockImplementation((bytes) => written.push(bytes) > 0);
    const chunk = words(50);
    harness.pump.onData(chunk);
    expect(written).toEqual([chunk]);
    expect(written[0]).toBe(chunk);
  });

  it('shows nothing beyond what is held, though it came in one piece, until more is', async () => {
    const harness = await guarded({ balance: RICH });
    harness.charge.silent();
    harness.pump.onData(words(150));
    await settled();
    expect(shown(harness)).toHaveLength(101);
    expect(harness.call.asked).toEqual(['pause']);
    // One more piece may come after a pause.
    harness.pump.onData(frame(content('b')));
    expect(shown(harness)).toHaveLength(101);
    harness.charge.answers();
    await settled();
    expect(shown(harness).slice(101)).toEqual([...Array<string>(50).fill(content('a')), content('b')]);
    expect(harness.call.asked).toEqual(['pause', 'resume']);
    feed(harness, STOP, DONE);
    expect(await harness.pump.ended).toMatchObject({ reason: 'complete', guardCut: undefined });
  });

  it('never lets an end wait, whatever its usage says', async () => {
    const harness = await guarded();
    harness.charge.silent();
    harness.pump.onData(words(100));
    feed(harness, STOP, USAGE_ONLY.replace('"completion_tokens":2', '"completion_tokens":5000'), DONE);
    expect(await harness.pump.ended).toMatchObject({ reason: 'complete', answer: { usage: { output: 5_000 } } });
  });

  it('is cut where more is refused: the upstream is aborted, what was delivered is billed', async () => {
    const harness = await guarded();
    harness.pump.onData(words(150));
    const { reason, answer, guardCut, deliveredChunks } = await harness.pump.ended;
    expect([reason, deliveredChunks, answer.chunks, answer.writtenTokens]).toEqual(['guard_cut', 101, 101, 100]);
    expect(guardCut).toEqual({ reason: 'guard_cut', limit: 'balance', budget: HOLD });
    expect(answer.text()?.output).toEqual(['a'.repeat(100)]);
    expect(harness.call.asked).toEqual(['pause', 'abort']);
    expect(harness.client.hasEnded).toBe(false);
  });

  it('that was cut ends as if its maximum was reached, and says why in a comment', async () => {
    const harness = await guarded({ showUsage: true });
    harness.pump.onData(words(150));
    await harness.pump.ended;
    harness.pump.finish('tollgate cost_usd=0.1', { ...NO_TOKENS, inputUncached: 8, inputCached: 2, output: 100 });
    const { events, comments, isDone } = readEvents(harness.client.received);
    const ours = {
      object: 'chat.completion.chunk',
      id: 'theirs-1',
      created: 7,
      model: 'theirs',
      system_fingerprint: 'fp',
    };
    expect(events.slice(101).map((event) => JSON.parse(event) as object)).toEqual([
      { ...ours, choices: [{ index: 0, delta: {}, logprobs: null, finish_reason: 'length' }], usage: null },
      {
        ...ours,
        choices: [],
        usage: {
          prompt_tokens: 10,
          completion_tokens: 100,
          total_tokens: 110,
          prompt_tokens_details: { cached_tokens: 2 },
          completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 },
        },
      },
    ]);
    expect(comments).toEqual(['tollgate stream_guard=cut limit=balance', 'tollgate cost_usd=0.1']);
    expect(isDone).toBe(true);
  });

  it("that was cut bears the client's name of the model, and tells no usage that was not asked for", async () => {
    const harness = await guarded({ clientModel: 'mine' });
    harness.pump.onData(words(150));
    await harness.pump.ended;
    harness.pump.finish(undefined, NO_TOKENS);
    const ends = shown(harness).slice(101);
    expect(ends.map((event) => JSON.parse(event) as object)).toMatchObject([{ id: 'theirs-1', model: 'mine' }]);
    expect(ends[0]).not.toContain('usage');
  });

  it('that was cut ends the choices that have not ended, each once', async () => {
    const harness = await guarded({ choices: 3 });
    const second = JSON.stringify({ choices: [{ index: 1, delta: {}, finish_reason: 'stop' }] });
    harness.pump.onData(Buffer.concat([frame(second), words(150)]));
    await harness.pump.ended;
    harness.pump.finish();
    const ends = shown(harness).flatMap((event) =>
      (JSON.parse(event) as { choices: { index: number; finish_reason: string | null }[] }).choices
        .filter(({ finish_reason }) => finish_reason !== null)
        .map(({ index, finish_reason }) => `${index} ${finish_reason ?? ''}`),
    );
    expect(ends).toEqual(['1 stop', '0 length', '2 length']);
  });

  it('counts the arguments of tools as it counts text', async () => {
    const harness = await guarded();
    const calls = [{ index: 0, function: { arguments: 'x'.repeat(402) } }];
    feed(harness, JSON.stringify({ choices: [{ index: 0, delta: { tool_calls: calls } }] }));
    expect(await harness.pump.ended).toMatchObject({ reason: 'guard_cut', deliveredChunks: 0 });
  });
});

describe('a stream that waits for its guard', () => {
  async function waiting(options: Parameters<typeof guarded>[0] = {}): ReturnType<typeof guarded> {
    const harness = await guarded(options);
    harness.charge.silent();
    harness.pump.onData(words(150));
    return harness;
  }

  it.each(['end', 'reset'])('takes the upstream’s %s up after what waits', async (how) => {
    for (const balance of [RICH, HOLD]) {
      const harness = await waiting({ balance });
      feed(harness, STOP);
      if (how === 'end') harness.pump.onEnd();
      else harness.pump.onFailure(RESET);
      await settled();
      expect(shown(harness)).toHaveLength(101);
      harness.charge.answers();
      const isRich = balance === RICH;
      expect((await harness.pump.ended).reason).toBe(isRich ? 'complete' : 'guard_cut');
      expect(shown(harness)).toHaveLength(isRich ? 152 : 101);
    }
  });

  it('takes a last frame without its blank line once', async () => {
    const harness = await guarded({ balance: RICH });
    harness.charge.silent();
    harness.pump.onData(words(100));
    harness.pump.onData(Buffer.from(`data: ${content('last words')}`));
    harness.pump.onEnd();
    await settled();
    expect(shown(harness)).toHaveLength(101);
    harness.charge.answers();
    expect((await harness.pump.ended).reason).toBe('upstream_broke');
    expect(shown(harness).slice(101)).toEqual([content('last words')]);
  });

  it('is not woken by a client that reads on', async () => {
    const harness = await guarded({ balance: RICH });
    harness.charge.silent();
    harness.client.reads = false;
    harness.pump.onData(words(150));
    harness.client.drain();
    expect(harness.call.asked).toEqual(['pause']);
    harness.charge.answers();
    await settled();
    expect(harness.call.asked).toEqual(['pause', 'resume']);
  });

  it('ends with a client that leaves, by policy', async () => {
    const harness = await waiting({ disconnectPolicy: 'cut' });
    harness.client.leave();
    expect(await harness.pump.ended).toMatchObject({ reason: 'client_left', answer: { chunks: 101 } });
    harness.charge.answers();
    await settled();
    expect(harness.call.asked).toEqual(['pause', 'abort']);
  });

  it('is read on for a client that left where more is held, and billed whole', async () => {
    const harness = await waiting({ balance: RICH, disconnectPolicy: 'drain' });
    harness.client.leave();
    harness.charge.answers();
    await settled();
    feed(harness, STOP, USAGE_ONLY, DONE);
    expect(await harness.pump.ended).toMatchObject({
      reason: 'client_left_drained',
      answer: { isUsageFinal: true, chunks: 152 },
    });
  });

  it('is cut for a client that left where no more is held, and billed as far as it was read', async () => {
    const harness = await guarded({ disconnectPolicy: 'drain' });
    harness.pump.onData(words(20));
    harness.client.leave();
    harness.pump.onData(words(150));
    const { reason, deliveredChunks, answer } = await harness.pump.ended;
    // Two roles and 99 words: the second role is one of those frames that look like text.
    expect([reason, deliveredChunks, answer.chunks, answer.writtenTokens]).toEqual(['guard_cut', 21, 101, 100]);
    expect(harness.pump.finish()).toBe(false);
  });

  it('ends with the process, and is billed what was delivered', async () => {
    const harness = await waiting();
    harness.pump.cut();
    expect(await harness.pump.ended).toMatchObject({ reason: 'cut_by_shutdown', answer: { chunks: 101 } });
    harness.charge.answers();
    await settled();
    harness.pump.fail(refuse('SHUTTING_DOWN'));
    expect(harness.client.received).not.toContain('length');
  });

  it('before its gate is open sends nothing, and nothing at all where the gate refuses', async () => {
    for (const refusal of [undefined, refuse('BILLING_SERVICE_ERROR')]) {
      const harness = await guarded({ gate: 'closed' });
      harness.pump.onData(words(150));
      await settled();
      expect(harness.client.isOpened).toBe(false);
      harness.openGate(refusal);
      const { reason, deliveredChunks } = await harness.pump.ended;
      expect([reason, deliveredChunks]).toEqual(refusal ? ['refused', 0] : ['guard_cut', 101]);
    }
  });
});
