import * as fc from 'fast-check';

import { NO_TOKENS, TOKEN_BUCKETS } from '../../../catalogue/price';
import { usageFromOpenAi } from './usage';

describe('usageFromOpenAi', () => {
  it('splits what OpenAI counts inside its totals', () => {
    expect(
      usageFromOpenAi({
        prompt_tokens: 100,
        completion_tokens: 50,
        total_tokens: 150,
        prompt_tokens_details: { cached_tokens: 30, audio_tokens: 10, cache_write_tokens: 20 },
        completion_tokens_details: { reasoning_tokens: 25, audio_tokens: 5 },
      }),
    ).toEqual({ inputUncached: 40, inputCached: 30, cacheWrite: 20, output: 20, reasoning: 25, audio: 15, image: 0 });
  });

  it('adds reasoning to the completion only where the total says so (xAI)', () => {
    const counts = { prompt_tokens: 12, completion_tokens: 2, completion_tokens_details: { reasoning_tokens: 340 } };
    expect(usageFromOpenAi({ ...counts, total_tokens: 354 })).toMatchObject({ output: 2, reasoning: 340 });
    expect(usageFromOpenAi({ ...counts, total_tokens: 14 })).toMatchObject({ output: 0, reasoning: 2 });
  });

  it("reads DeepSeek's cache hits where there are no details", () => {
    expect(
      usageFromOpenAi({ prompt_tokens: 339, completion_tokens: 83, total_tokens: 422, prompt_cache_hit_tokens: 320 }),
    ).toMatchObject({ inputUncached: 19, inputCached: 320 });
  });

  it('takes an explicit zero as a count', () => {
    expect(usageFromOpenAi({ prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 })).toEqual(NO_TOKENS);
  });

  it.each([
    ['undefined', undefined],
    ['null', null],
    ['a string', '12'],
    ['an array', [1, 2]],
    ['an empty object', {}],
    ['no completion', { prompt_tokens: 5 }],
    ['null totals', { prompt_tokens: null, completion_tokens: null }],
    ['strings', { prompt_tokens: '5', completion_tokens: '6' }],
    ['a negative', { prompt_tokens: -5, completion_tokens: 6 }],
    ['a fraction', { prompt_tokens: 5, completion_tokens: 6.5 }],
    ['not a number', { prompt_tokens: NaN, completion_tokens: 6 }],
    ['beyond belief', { prompt_tokens: 5, completion_tokens: 1e15 }],
  ])('takes %s as missing', (_, usage) => {
    expect(usageFromOpenAi(usage)).toBeUndefined();
  });

  it('ignores details that are garbage and keeps the totals', () => {
    expect(
      usageFromOpenAi({
        prompt_tokens: 10,
        completion_tokens: 5,
        prompt_tokens_details: { cached_tokens: -3, audio_tokens: '2' },
        completion_tokens_details: [],
      }),
    ).toEqual({ ...NO_TOKENS, inputUncached: 10, output: 5 });
  });

  it('never makes a negative bucket, and the buckets sum to the totals', () => {
    const count = fc.nat({ max: 1000 });
    fc.assert(
      fc.property(
        count,
        count,
        count,
        count,
        count,
        count,
        count,
        (prompt, completion, cached, audio, write, r, spoken) => {
          const tokens = usageFromOpenAi({
            prompt_tokens: prompt,
            completion_tokens: completion,
            total_tokens: prompt + completion,
            prompt_tokens_details: { cached_tokens: cached, audio_tokens: audio, cache_write_tokens: write },
            completion_tokens_details: { reasoning_tokens: r, audio_tokens: spoken },
          });
          const counts = TOKEN_BUCKETS.map((bucket) => tokens?.[bucket] ?? NaN);
          expect(Math.min(...counts)).toBeGreaterThanOrEqual(0);
          expect(counts.reduce((sum, tokensOfBucket) => sum + tokensOfBucket, 0)).toBe(prompt + completion);
        },
      ),
    );
  });
});
