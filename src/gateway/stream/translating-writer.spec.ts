import fc from 'fast-check';
import { NO_TOKENS, type TokenCounts } from '../../catalogue/price';
import { type JsonObject } from '../../kernel/json-object';
import { type EventParser, type EventRenderer } from '../dialects/dialect';
import { type NeutralEvent } from '../dialects/neutral/neutral-event';
import { ChatStreamReading } from '../dialects/openai-chat/chat-stream';
import { content, DONE, feed, frame, opened, RESET, STOP, USAGE_ONLY } from '../../../test/support/chat-frames';
import { guardOf, HOLD, ScriptedCharge } from '../../../test/support/guard-harness';
import { type PumpHarness } from '../../../test/support/pump-harness';
import { TranslatingWriter } from './translating-writer';

/** Says each word of a chat stream, in pairs: the first of a pair says nothing yet. */
class Parser implements EventParser {
  private waiting: string | undefined;

  parse(chunk: JsonObject): readonly NeutralEvent[] {
    const [choice] = chunk.choices as { delta: { content?: string } }[];
    const word = choice?.delta.content;
    if (word === undefined) return [];
    if (this.waiting === undefined) {
      this.waiting = word;
      return [];
    }
    const text = this.waiting + word;
    this.waiting = undefined;
    return [{ type: 'delta', block: 0, text }];
  }

  end(): readonly NeutralEvent[] {
    const rest: NeutralEvent[] = this.waiting === undefined ? [] : [{ type: 'delta', block: 0, text: this.waiting }];
    return [...rest, { type: 'end' }];
  }
}

/** Numbers its frames, so that one said twice would show. */
class Renderer implements EventRenderer {
  private said = 0;

  render(event: NeutralEvent): string {
    if (event.type === 'delta') return this.say(event.text);
    return event.type === 'end' ? this.say('end') : '';
  }

  cut(billed: TokenCounts | undefined): string {
    return this.say(`cut ${billed?.output ?? 'unbilled'}`);
  }

  terminal(): string {
    return this.say('terminal');
  }

  private say(text: string): string {
    this.said += 1;
    return `data: ${this.said} ${text}\n\n`;
  }
}

/** From a chat provider to a client that is shown the words in pairs. */
function translating(options: Parameters<typeof opened>[0] = {}): Promise<PumpHarness> {
  const writer = new TranslatingWriter(new Parser(), new Renderer());
  return opened({ reading: new ChatStreamReading(1), writer, ...options });
}

describe('a stream that is translated', () => {
  it('says each frame anew, what is left at its end, and its last frame after the settle', async () => {
    const { pump, client, ...rest } = await translating();
    feed({ pump, client, ...rest }, content('a'), content('b'), content('c'), STOP, USAGE_ONLY, DONE);
    expect(await pump.ended).toMatchObject({ reason: 'complete', answer: { usage: { output: 2 }, chunks: 4 } });
    expect(client.received).toBe('data: 1 ab\n\ndata: 2 c\n\ndata: 3 end\n\n');
    const last = pump.lastBytes('tollgate cost_usd=1');
    expect(last.toString()).toBe(': tollgate cost_usd=1\n\ndata: 4 terminal\n\n');
    expect(pump.lastBytes('tollgate cost_usd=1')).toEqual(last);
    expect(pump.lastBytes().toString()).toBe('data: 4 terminal\n\n');
    pump.finish('tollgate cost_usd=1');
    expect(client.received).toBe(`data: 1 ab\n\ndata: 2 c\n\ndata: 3 end\n\n${last.toString()}`);
  });

  it('does not send the client’s head for frames that say nothing, and counts them with what is said next', async () => {
    const harness = await translating();
    feed(harness, content('a'));
    expect(harness.client.isOpened).toBe(false);
    expect(harness.pump.progress.chunks).toBe(0);
    feed(harness, content('b'));
    expect(harness.client.isOpened).toBe(true);
    expect(harness.pump.progress.chunks).toBe(2);
  });

  it('that broke is billed what was delivered', async () => {
    const harness = await translating();
    feed(harness, content('a'), content('b'), content('c'));
    harness.pump.onFailure(RESET);
    const { reason, answer } = await harness.pump.ended;
    expect([reason, answer.chunks]).toEqual(['upstream_broke', 2]);
    expect(answer.text()?.output).toEqual(['ab']);
  });

  it('breaks at a frame that is no JSON: what it was to say would be missing', async () => {
    const harness = await translating();
    feed(harness, content('a'), content('b'), 'data: {"choices":[{"delta":{"con\n\n', content('d'), STOP, DONE);
    const { reason, fault } = await harness.pump.ended;
    expect([reason, fault]).toEqual(['upstream_broke', 'a frame of the stream is no JSON']);
    expect(harness.call.asked).toEqual(['abort']);
    expect(harness.client.received).toBe('data: 1 ab\n\n');
  });

  it('passes comments on once the answer has begun, and no other line', async () => {
    const harness = await translating();
    harness.pump.onData(Buffer.from(': thinking\n\n'));
    expect(harness.client.isOpened).toBe(false);
    feed(harness, content('a'));
    harness.pump.onData(Buffer.from(': still thinking\n\nevent: ping\n\n\n'));
    expect(harness.client.received).toBe(': still thinking\n\n');
  });

  it('turns pings into comments, once the client has been sent something', async () => {
    const harness = await translating();
    const ping = JSON.stringify({ type: 'ping', choices: [{ delta: {} }] });
    feed(harness, ping);
    expect(harness.client.isOpened).toBe(false);
    feed(harness, content('a'), content('b'), ping);
    expect(harness.client.received).toBe('data: 1 ab\n\n: ping\n\n');
  });

  it.each(['a', 'end'])('is broken, and nothing else is, where its translation fails: %s', async (word) => {
    const renderer = new Renderer();
    jest.spyOn(renderer, 'render').mockImplementation((event) => {
      if (event.type === (word === 'end' ? 'end' : 'delta')) throw new Error('no such thing');
      return 'data: x\n\n';
    });
    const harness = await opened({
      reading: new ChatStreamReading(1),
      writer: new TranslatingWriter(new Parser(), renderer),
    });
    feed(harness, content('a'), content('b'), STOP, DONE);
    const { reason, fault } = await harness.pump.ended;
    expect([reason, fault]).toEqual([
      'upstream_broke',
      'a frame of the stream could not be translated: Error: no such thing',
    ]);
  });

  it('is no whole answer without its provider’s end', async () => {
    const harness = await translating();
    feed(harness, content('a'), content('b'));
    harness.pump.onEnd();
    expect((await harness.pump.ended).reason).toBe('upstream_broke');
    expect(harness.client.received).toBe('data: 1 ab\n\n');
  });

  it('that the guard cuts is ended by its renderer, the same each time', async () => {
    const harness = await translating({ guard: guardOf(new ScriptedCharge(HOLD)) });
    harness.pump.onData(Buffer.concat(Array.from({ length: 150 }, () => frame(content('a')))));
    expect((await harness.pump.ended).reason).toBe('guard_cut');
    const billed = { ...NO_TOKENS, output: 100 };
    const last = harness.pump.lastBytes('cost', billed);
    expect(last.toString()).toMatch(
      /^data: (\d+) cut 100\n\n: tollgate stream_guard=cut limit=balance\n\n: cost\n\ndata: \d+ terminal\n\n$/,
    );
    expect(harness.pump.lastBytes('cost', billed)).toEqual(last);
  });

  it('is the same wherever the network cuts it', async () => {
    const words = ['a', 'ü', '語', '\n', '"', 'data: '].map((word) => content(word));
    const bytes = Buffer.concat([...[...words, STOP, USAGE_ONLY].map(frame), Buffer.from(DONE)]);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat({ max: bytes.length }), { maxLength: 30 }), async (offsets) => {
        const { pump, client } = await translating();
        const ends = [...new Set([...offsets, bytes.length])].sort((a, b) => a - b);
        for (const [at, end] of ends.entries()) pump.onData(bytes.subarray(ends[at - 1] ?? 0, end));
        expect((await pump.ended).reason).toBe('complete');
        pump.finish();
        expect(client.received).toBe(
          'data: 1 aü\n\ndata: 2 語\n\n\ndata: 3 "data: \n\ndata: 4 end\n\ndata: 5 terminal\n\n',
        );
      }),
      { seed: 20_261_121, numRuns: 200 },
    );
  });
});
