import { isDeepStrictEqual } from 'node:util';
import { costOf, NO_TOKENS, TOKEN_BUCKETS, type TokenCounts } from '../../catalogue/price';
import { usageFromAnthropic } from '../dialects/anthropic-messages/usage';
import { MessageStreamReading } from '../dialects/anthropic-messages/message-stream';
import { isObject } from '../../kernel/json-object';
import { ChatStreamReading } from '../dialects/openai-chat/chat-stream';
import { usageFromOpenAi } from '../dialects/openai-chat/usage';
import { usageFromEmbeddings } from '../dialects/openai-embeddings/usage';
import { ResponseStreamReading } from '../dialects/openai-responses/response-stream';
import { usageFromResponses } from '../dialects/openai-responses/usage';
import { type FrameKind, type StreamReading } from '../dialects/stream-reading';
import { extent } from '../../../test/support/extent';
import { RECORDED_CHARGES, RECORDED_PRICE, type RecordedTokens } from '../../../test/support/recorded-charges';
import { type RecordedCall, recordedCalls, type RecordedDialect } from '../../../test/support/recorded-streams';
import { seeded } from '../../../test/support/seeded';
import { SseSplitter } from './sse-splitter';
import { type StreamSnapshot, TokenAccumulator } from './token-accumulator';

const SEED = 20_261_121;
const SPLITS = extent(20, 500);

const READINGS: Readonly<Record<RecordedDialect, () => StreamReading>> = {
  'openai-chat': () => new ChatStreamReading(1),
  'anthropic-messages': () => new MessageStreamReading(),
  'openai-responses': () => new ResponseStreamReading(),
  'openai-embedding': () => {
    throw new Error('embeddings are not streamed');
  },
};
const USAGES: Readonly<Record<RecordedDialect, (usage: unknown) => TokenCounts | undefined>> = {
  'openai-chat': usageFromOpenAi,
  'anthropic-messages': usageFromAnthropic,
  'openai-responses': usageFromResponses,
  'openai-embedding': usageFromEmbeddings,
};

interface Watched {
  readonly accumulator: TokenAccumulator;
  readonly kinds: readonly FrameKind[];
  readonly snapshots: readonly StreamSnapshot[];
}

function watch({ dialect, bytes }: RecordedCall, cuts: readonly number[]): Watched {
  const accumulator = new TokenAccumulator(READINGS[dialect]());
  const kinds: FrameKind[] = [];
  const snapshots: StreamSnapshot[] = [];
  const splitter = new SseSplitter((block, start, end) => {
    const foretold = accumulator.tokensWith(block, start, end);
    kinds.push(accumulator.observe(block, start, end));
    snapshots.push(accumulator.snapshot);
    // What a frame was said to bring, it brings.
    if (kinds.at(-1) === 'data' && accumulator.writtenTokens < foretold) throw new Error('a frame brought less');
  });
  const ends = [...cuts, bytes.length];
  for (const [at, end] of ends.entries()) splitter.push(bytes.subarray(ends[at - 1] ?? 0, end));
  return { accumulator, kinds, snapshots };
}

/** Cuts of every size, also inside a character and inside a line ending. */
function* cutsOf(length: number, random: () => number): Generator<readonly number[]> {
  for (let split = 0; split < SPLITS; split += 1) {
    const longest = 1 + Math.floor(random() * 2 ** (1 + Math.floor(random() * 12)));
    const cuts: number[] = [];
    for (let at = 1 + Math.floor(random() * longest); at < length; at += 1 + Math.floor(random() * longest))
      cuts.push(at);
    yield cuts;
  }
}

const tokensOf = (row: Exclude<RecordedTokens, 'error'>): TokenCounts =>
  Object.fromEntries(TOKEN_BUCKETS.map((bucket, at) => [bucket, row[at] ?? NaN])) as TokenCounts;

const calls = recordedCalls();

if (!calls) {
  it.skip('recorded answers of every dialect (no recordings beside the project)', () => undefined);
} else {
  const table = new Map(RECORDED_CHARGES.map(([name, tokens, nanoUsd]) => [name, { tokens, nanoUsd }]));
  const rowOf = (name: string): { tokens: RecordedTokens; nanoUsd: bigint } => {
    const row = table.get(name);
    if (!row) throw new Error(`nobody has worked out by hand what ${name} costs`);
    return row;
  };
  const streams = calls.filter(({ isStream }) => isStream);
  const bodies = calls.filter(({ isStream }) => !isStream);

  it('every recorded call has a row in the table, and every row a call', () => {
    expect(calls.map(({ name }) => name).sort()).toEqual([...table.keys()].sort());
    expect([streams.length, bodies.length]).toEqual([40, 23]);
  });

  describe.each(streams)(`the recorded stream $name, cut with seed ${SEED}`, (call) => {
    const { tokens, nanoUsd } = rowOf(call.name);
    const whole = watch(call, []);

    it(`has the tokens and the charge of the table, wherever the network cuts it: ${SPLITS} times`, () => {
      const random = seeded(SEED);
      const expected =
        tokens === 'error'
          ? { usage: undefined, isUsageFinal: false, isFinished: false, chunks: 0, writtenTokens: 0 }
          : { ...whole.accumulator.snapshot, usage: tokensOf(tokens), isUsageFinal: true, isFinished: true };
      const wanted = { kinds: whole.kinds, snapshot: expected, text: whole.accumulator.text() };
      for (const cuts of [[], ...cutsOf(call.bytes.length, random)]) {
        const { accumulator, kinds } = watch(call, cuts);
        const result = { kinds, snapshot: accumulator.snapshot, text: accumulator.text() };
        // This runs often, over thousands of frames: the slow comparison is for the message only.
        if (!isDeepStrictEqual(result, wanted)) expect(result).toEqual(wanted);
      }
      if (tokens === 'error') {
        expect(whole.accumulator.errorEvent).toMatchObject({ code: 'insufficient_quota' });
        expect(whole.accumulator.text()).toEqual({ output: [], reasoning: [] });
      } else {
        expect(costOf(whole.accumulator.usage ?? NO_TOKENS, RECORDED_PRICE)).toBe(nanoUsd);
      }
    });

    it('can be asked after every frame, ends once, and its usage is the last word at its end only', () => {
      const { kinds, snapshots } = whole;
      expect(kinds.filter((kind) => kind === 'done')).toHaveLength(tokens === 'error' ? 0 : 1);
      const isGrowing = snapshots.every((now, at) => {
        const before = snapshots[at - 1];
        if (!before) return true;
        const isLess = now.chunks < before.chunks || now.writtenTokens < before.writtenTokens;
        return !isLess && (now.isUsageFinal ? now.isFinished : !before.isUsageFinal);
      });
      expect(isGrowing).toBe(true);
    });
  });

  it.each(bodies)(
    'the recorded answer $name has the tokens and the charge of the table',
    ({ name, dialect, bytes }) => {
      const { tokens, nanoUsd } = rowOf(name);
      const body: unknown = JSON.parse(bytes.toString('utf8'));
      const usage = USAGES[dialect](isObject(body) ? body.usage : undefined);
      expect(usage).toEqual(tokens === 'error' ? undefined : tokensOf(tokens));
      if (usage) expect(costOf(usage, RECORDED_PRICE)).toBe(nanoUsd);
    },
  );
}
