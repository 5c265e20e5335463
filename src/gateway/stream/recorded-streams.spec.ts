import { isDeepStrictEqual } from 'node:util';

import { type TokenCounts } from '../../catalogue/price';
import { readChatCompletion } from '../dialects/openai-chat/chat-completion';
import { assemble, type AssembledAnswer, readEvents } from '../../../test/support/assembled-answer';
import { extent } from '../../../test/support/extent';
import { type ChatStreamAsked, pumpHarness, type PumpHarness } from '../../../test/support/pump-harness';
import { asStream, recordedChatBodies, recordedChatStreams } from '../../../test/support/recorded-streams';
import { type StreamEnding } from './stream-ending';

const EVERY_OFFSET_BELOW_BYTES = extent(20_000, Infinity);
const CUTS_WITHIN_MS = extent(30_000, 600_000);
const RANDOM_SPLITS = 60;

const none = { cacheWrite: 0, audio: 0, image: 0 };

/** By hand, from the last usage in each file. */
const TOKENS_BY_HAND: Readonly<Record<string, TokenCounts>> = {
  // prompt 13, cached 0, completion 400
  'deepseek-text': { ...none, inputUncached: 13, inputCached: 0, output: 400, reasoning: 0 },
  // prompt 339, cached 320, completion 83 of which reasoning 39
  'deepseek-tool-call': { ...none, inputUncached: 19, inputCached: 320, output: 44, reasoning: 39 },
  // prompt 171, cached 128, completion 14
  'mistral-incremental-tool-call': { ...none, inputUncached: 43, inputCached: 128, output: 14, reasoning: 0 },
  // prompt 13, completion 8
  'mistral-text': { ...none, inputUncached: 13, inputCached: 0, output: 8, reasoning: 0 },
  // prompt 16, completion 300
  'openai-text': { ...none, inputUncached: 16, inputCached: 0, output: 300, reasoning: 0 },
  // prompt 12, cached 11; 12 + 2 + 340 = 354, so reasoning comes beside the completion
  'xai-text': { ...none, inputUncached: 1, inputCached: 11, output: 2, reasoning: 340 },
  // prompt 307, cached 306; 307 + 26 + 227 = 560
  'xai-tool-call': { ...none, inputUncached: 1, inputCached: 306, output: 26, reasoning: 227 },
};

/** Whole answers, by hand in the same way. */
const BODY_TOKENS_BY_HAND: Readonly<Record<string, TokenCounts>> = {
  'deepseek-text': { ...none, inputUncached: 13, inputCached: 0, output: 300, reasoning: 0 },
  'deepseek-tool-call': { ...none, inputUncached: 19, inputCached: 320, output: 44, reasoning: 48 },
  'mistral-text': { ...none, inputUncached: 13, inputCached: 0, output: 434, reasoning: 0 },
  'openai-text': { ...none, inputUncached: 16, inputCached: 0, output: 363, reasoning: 0 },
  'xai-text': { ...none, inputUncached: 10, inputCached: 2, output: 2, reasoning: 320 },
  'xai-tool-call': { ...none, inputUncached: 63, inputCached: 244, output: 26, reasoning: 255 },
};

async function replay(
  chunks: readonly Buffer[],
  options: ChatStreamAsked,
): Promise<{ harness: PumpHarness; ending: StreamEnding; seen: ReturnType<typeof readEvents> }> {
  const harness = pumpHarness(options);
  for (const chunk of chunks) harness.pump.onData(chunk);
  harness.pump.onEnd();
  const ending = await harness.pump.ended;
  harness.pump.finish('cost 0.000001000 USD');
  return { harness, ending, seen: readEvents(harness.client.received) };
}

function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function* splitsOf(bytes: Buffer, seed: number): Generator<Buffer[]> {
  yield [bytes];
  if (bytes.length < EVERY_OFFSET_BELOW_BYTES) {
    for (let at = 1; at < bytes.length; at++) yield [bytes.subarray(0, at), bytes.subarray(at)];
    return;
  }
  const random = seededRandom(seed);
  for (let run = 0; run < RANDOM_SPLITS; run++) {
    const longest = 1 + Math.floor(random() * 3000);
    const chunks: Buffer[] = [];
    for (let at = 0; at < bytes.length;) {
      const end = at + 1 + Math.floor(random() * longest);
      chunks.push(bytes.subarray(at, end));
      at = end;
    }
    yield chunks;
  }
}

/** The texts of an answer, in no order: what the tokenizer would be given. */
function textsOf(answer: AssembledAnswer): string[] {
  const calls = Object.values(answer.toolCalls).flatMap((call) => [call.name, call.arguments]);
  return [answer.text, answer.reasoning, answer.refusal, ...calls].filter(Boolean).sort();
}

const streams = recordedChatStreams();
const bodies = recordedChatBodies();
const whereTheyExist = streams ? describe : describe.skip;
const missing = streams ? '' : ': ../shared/recorded-streams/openai-chat is not on this machine';

whereTheyExist.each(streams ?? [{ name: missing, events: [], bytes: Buffer.alloc(0) }])(
  'the recorded stream $name',
  (stream) => {
    const { name, events, bytes } = stream;
    const expected = assemble(events);

    it(
      'comes out the same and is counted as by hand, wherever the network cuts it',
      async () => {
        let runs = 0;
        for (const chunks of splitsOf(bytes, 7)) {
          const { ending, seen } = await replay(chunks, { showUsage: true });
          const text = ending.answer.text();
          const result = {
            reason: ending.reason,
            seen,
            usage: ending.answer.usage,
            finishReason: ending.accumulator.finishReason,
            texts: [...(text?.output ?? []), ...(text?.reasoning ?? [])].sort(),
          };
          const wanted = {
            reason: 'complete',
            seen: { events, comments: ['cost 0.000001000 USD'], isDone: true },
            usage: TOKENS_BY_HAND[name],
            finishReason: expected.finishReason,
            texts: textsOf(expected),
          };
          // This runs once for every byte of the file: the slow comparison is for the message only.
          if (!isDeepStrictEqual(result, wanted)) expect(result).toEqual(wanted);
          runs++;
        }
        expect(runs).toBeGreaterThanOrEqual(RANDOM_SPLITS);
      },
      CUTS_WITHIN_MS,
    );

    it('shows everything but the usage to a client that did not ask for it', async () => {
      const withoutUsage = { ...expected };
      delete withoutUsage.usage;
      for (const chunks of [[bytes], ...[...splitsOf(bytes, 11)].slice(-3)]) {
        const { ending, seen } = await replay(chunks, { showUsage: false });
        expect(assemble(seen.events)).toEqual(withoutUsage);
        expect(seen.events.every((event) => !event.includes('"usage":{'))).toBe(true);
        expect(ending.answer.usage).toEqual(TOKENS_BY_HAND[name]);
        expect(seen.isDone).toBe(true);
      }
    });

    it("bears the client's name of the model when it has one", async () => {
      for (const showUsage of [true, false]) {
        const { seen } = await replay([bytes], { showUsage, clientModel: 'house "blend"' });
        const { usage, ...answer } = assemble(seen.events);
        expect(answer).toEqual({ ...expected, usage: undefined, model: 'house "blend"' });
        expect(usage).toEqual(showUsage ? expected.usage : undefined);
        expect(seen.events.every((event) => (JSON.parse(event) as { model: string }).model === 'house "blend"')).toBe(
          true,
        );
      }
    });

    it('is complete without [DONE]', async () => {
      const { ending, seen } = await replay([asStream(events, '')], { showUsage: true });
      expect(ending).toMatchObject({ reason: 'complete' });
      expect(seen).toMatchObject({ events, isDone: true });
    });

    it('is one memory from upstream to client when nothing has to change', async () => {
      const { harness } = await replay([bytes], { showUsage: true });
      expect(harness.client.writes).toHaveLength(2);
      expect(harness.client.writes[0]).toEqual(asStream(events, ''));
    });
  },
);

whereTheyExist.each([...(bodies ?? [[missing, Buffer.alloc(0)] as const])])('the recorded answer %s', (name, body) => {
  it('is counted as by hand, and its text is read', () => {
    const answer = readChatCompletion(body);
    const choices = (JSON.parse(body.toString()) as { choices: { message: object }[] }).choices;
    const asDeltas = choices.map(({ message }) => ({ delta: message }));
    expect(answer?.usage).toEqual(BODY_TOKENS_BY_HAND[name]);
    const text = answer?.text();
    expect([...(text?.output ?? []), ...(text?.reasoning ?? [])].sort()).toEqual(
      textsOf(assemble([JSON.stringify({ choices: asDeltas })])),
    );
  });
});
