import { NO_TOKENS } from '../../catalogue/price';
import { OffsetClock } from '../../kernel/clock';
import { Metrics } from '../../platform/metrics/metrics';
import { eventually } from '../../../test/support/eventually';
import { type CountableAnswer, TokenCounter } from './count-tokens';
import { TokenAccuracy } from './token-accuracy';
import { TokenizerPool } from './tokenizer-pool';

const PROMPT = { dialect: 'openai-chat', body: {}, promptTextBytes: 2 } as const;
/** One token each. */
const TEXT = 'one two three four five six seven eight nine ten';

describe('the accuracy of our tokenizer', () => {
  let metrics: Metrics;
  let counter: TokenCounter;
  let asked: number;

  beforeEach(() => {
    metrics = new Metrics();
    const thread = new TokenizerPool(new OffsetClock(0));
    counter = new TokenCounter(thread, new TokenAccuracy(thread, metrics));
    asked = 0;
  });
  afterEach(() => counter.onModuleDestroy());

  function answerOf(more: Partial<CountableAnswer> = {}): CountableAnswer {
    const text = (): { output: string[]; reasoning: string[] } => {
      asked += 1;
      return { output: [TEXT], reasoning: ['a thought that no provider need show'] };
    };
    const usage = { ...NO_TOKENS, output: 8, reasoning: 500 };
    return { isUsageFinal: true, isStreamed: true, chunks: 3, usage, text, ...more };
  }

  async function end(answer: CountableAnswer, times: number): Promise<void> {
    for (let stream = 0; stream < times; stream += 1) await counter.count(answer, PROMPT, 0);
  }

  function compared(): Promise<string> {
    return eventually('a stream was compared', async () => {
      const { text } = await metrics.scrape();
      return /^stream_token_accuracy_percent_count [1-9]/m.test(text) ? text : undefined;
    });
  }

  it('is looked at in one stream of a hundred, by its output alone', async () => {
    await end(answerOf(), 99);
    expect(asked).toBe(0);
    await end(answerOf(), 1);
    // Ten were counted, eight reported: 75 %.
    expect(await compared()).toMatch(/^stream_token_accuracy_percent_sum 75$/m);
    expect(asked).toBe(1);
  });

  it('does not make the answer wait: its charge is known before a text is read', async () => {
    await end(answerOf(), 99);
    expect(counter.count(answerOf(), PROMPT, 0)).toMatchObject({ method: 'usage', tokens: { output: 8 } });
    expect(asked).toBe(0);
    await compared();
  });

  it('is not looked at in whole bodies, in answers without tokens and in those that we counted ourselves', async () => {
    await end(answerOf({ isStreamed: false }), 150);
    await end(answerOf({ usage: NO_TOKENS }), 150);
    expect(asked).toBe(0);
    await end(answerOf(), 100);
    await compared();
    expect(asked).toBe(1);
  });

  it('is never below zero, and unknown where the text was too much to keep', async () => {
    await end(answerOf({ usage: { ...NO_TOKENS, output: 1 } }), 100);
    expect(await compared()).toMatch(/^stream_token_accuracy_percent_sum 0$/m);
    const unread = jest.fn(() => undefined);
    await end(answerOf({ text: unread }), 100);
    await eventually('the text was asked for', () => (unread.mock.calls.length > 0 ? true : undefined));
    await end(answerOf(), 100);
    await eventually('the second comparison', async () =>
      /^stream_token_accuracy_percent_count 2$/m.test((await metrics.scrape()).text) ? true : undefined,
    );
  });
});
