import { encode } from 'gpt-tokenizer/encoding/o200k_base';

import { NO_TOKENS } from '../../catalogue/price';
import { OffsetClock } from '../../kernel/clock';
import { Metrics } from '../../platform/metrics/metrics';
import { type CountableAnswer, TokenCounter } from './count-tokens';
import { TokenAccuracy } from './token-accuracy';
import { TokenizerPool } from './tokenizer-pool';

const PROMPT = {
  dialect: 'openai-chat',
  body: { messages: [{ role: 'user', content: 'Say hello in five languages.' }] },
  promptTextBytes: 61,
} as const;
/** Role and content, and what frames one message and the answer. */
const PROMPT_TOKENS = encode('user').length + encode('Say hello in five languages.').length + 6;

function answerOf(output: string[], more: Partial<CountableAnswer> = {}): CountableAnswer {
  return { isUsageFinal: true, chunks: output.length, text: () => ({ output, reasoning: [] }), ...more };
}

const reported = { ...NO_TOKENS, inputUncached: 100, output: 3 };

describe('TokenCounter', () => {
  const thread = new TokenizerPool(new OffsetClock(0));
  const counter = new TokenCounter(thread, new TokenAccuracy(thread, new Metrics()));

  afterAll(async () => {
    await counter.onModuleDestroy();
  });

  it('believes what the provider reports, zero included, without looking at the text', async () => {
    const text = (): never => {
      throw new Error('the text was asked for');
    };
    for (const usage of [reported, NO_TOKENS]) {
      const counted = await counter.count(answerOf([], { usage, text }), PROMPT, 5);
      expect(counted).toEqual({ tokens: usage, method: 'usage' });
    }
  });

  it('counts output, reasoning and prompt with the tokenizer where nothing was reported', async () => {
    const output = ['Hello, bonjour, hola, ciao, 你好! 😀', '{"city":"Paris"}'];
    const reasoning = ['The user wants greetings.'];
    const { tokens, method } = await counter.count(
      answerOf(output, { text: () => ({ output, reasoning }) }),
      PROMPT,
      85,
    );
    const count = (texts: string[]): number => texts.reduce((sum, text) => sum + encode(text).length, 0);
    expect(method).toBe('tokenizer');
    expect(tokens).toEqual({
      ...NO_TOKENS,
      inputUncached: PROMPT_TOKENS,
      output: count(output),
      reasoning: count(reasoning),
      image: 85,
    });
  });

  it('counts a long text as the tokenizer would, though it is cut into pieces', async () => {
    const text = 'The quick brown fox jumps over the lazy dog, again and again.\n'.repeat(3000);
    const { tokens } = await counter.count(answerOf([text]), PROMPT, 0);
    expect(tokens.output).toBe(encode(text).length);
  });

  it('is quick with a text that has no spaces, and nearly exact', async () => {
    const text = '中文没有空格也要快'.repeat(6000);
    const startedMs = performance.now();
    const { tokens, method } = await counter.count(answerOf([text]), PROMPT, 0);
    expect(method).toBe('tokenizer');
    expect(performance.now() - startedMs).toBeLessThan(5000);
    const one = encode('中文没有空格也要快'.repeat(50)).length / 50;
    expect(Math.abs(tokens.output / (one * 6000) - 1)).toBeLessThan(0.02);
  });

  it('scales up a text beyond what one job may take', async () => {
    const text = 'one two three four five six seven eight nine ten '.repeat(50_000);
    const { tokens } = await counter.count(answerOf([text]), PROMPT, 0);
    expect(Math.abs(tokens.output / 500_000 - 1)).toBeLessThan(0.01);
  });

  it('counts control tokens in a text as text', async () => {
    const { tokens, method } = await counter.count(answerOf(['<|endoftext|>']), PROMPT, 0);
    expect(method).toBe('tokenizer');
    expect(tokens.output).toBeGreaterThan(1);
  });

  it('estimates where the text was too long to keep', async () => {
    const text = (): undefined => undefined;
    expect(await counter.count(answerOf([], { text, chunks: 40 }), PROMPT, 7)).toEqual({
      tokens: { ...NO_TOKENS, inputUncached: 21, output: 120, image: 7 },
      method: 'estimated',
    });
    expect((await counter.count(answerOf([], { text, chunks: 0 }), PROMPT, 0)).tokens.output).toBe(1);
  });

  it('estimates no output where none can be', async () => {
    const prompt = { ...PROMPT, dialect: 'openai-embeddings', maxOutputTokens: 0 } as const;
    expect(await counter.count(answerOf([], { text: () => undefined }), prompt, 0)).toEqual({
      tokens: { ...NO_TOKENS, inputUncached: 21 },
      method: 'estimated',
    });
  });

  it('estimates what the guard let pass by the guard’s own count: three times that would be more than was held', async () => {
    const text = (): undefined => undefined;
    const answer = answerOf([], { text, chunks: 40, writtenTokens: 45, isGuarded: true });
    expect(await counter.count(answer, PROMPT, 0)).toMatchObject({ tokens: { output: 45 }, method: 'estimated' });
  });

  it('takes the larger of a provisional usage and what was counted on the way, where the text is gone', async () => {
    const text = (): undefined => undefined;
    const answer = answerOf([], { usage: reported, isUsageFinal: false, text, chunks: 900, writtenTokens: 1_200 });
    expect(await counter.count(answer, PROMPT, 0)).toEqual({
      tokens: { ...reported, output: 1_200 },
      method: 'estimated',
    });
    const less = { ...answer, writtenTokens: 2 };
    expect(await counter.count(less, PROMPT, 0)).toEqual({ tokens: reported, method: 'usage' });
  });

  it('does not let a usage told on the way hide what was written after it', async () => {
    const long = 'one two three four five six seven eight nine ten';
    expect(await counter.count(answerOf([long], { usage: reported, isUsageFinal: false }), PROMPT, 0)).toEqual({
      tokens: { ...reported, output: 10 },
      method: 'tokenizer',
    });
    expect(await counter.count(answerOf(['one'], { usage: reported, isUsageFinal: false }), PROMPT, 0)).toEqual({
      tokens: reported,
      method: 'usage',
    });
    const untold = answerOf([], { usage: reported, isUsageFinal: false, text: () => undefined });
    expect(await counter.count(untold, PROMPT, 0)).toEqual({ tokens: reported, method: 'usage' });
  });
});
