import fc from 'fast-check';
import { nanoUsd } from '../kernel/money';
import {
  costOf,
  estimateCost,
  estimateTokens,
  type FrozenPrice,
  type ModelProfile,
  NO_TOKENS,
  TOKEN_BUCKETS,
  type TokenCounts,
} from './price';

const SEED = 20_261_121;

const price = (perMillion: readonly bigint[], perRequest = 0n, multiplier = 1_000_000n): FrozenPrice => ({
  version: '1',
  perMillionTokens: Object.fromEntries(
    TOKEN_BUCKETS.map((bucket, at) => [bucket, perMillion[at] ?? 0n]),
  ) as FrozenPrice['perMillionTokens'],
  perRequestNanoUsd: nanoUsd(perRequest),
  multiplierMillionths: multiplier,
});

const profile: ModelProfile = {
  model: 'm',
  isReasoning: false,
  defaultOutputReserveTokens: 1_024,
  maxOutputTokens: 4_096,
  tokensPerImage: 1_500,
};

const TEXT_ONLY = { images: 0, audioParts: 0, audioDataBytes: 0, asksForAudio: false, asksForImages: false };

const counts = fc
  .array(fc.nat(2_000_000), { minLength: 7, maxLength: 7 })
  .map((list) => Object.fromEntries(TOKEN_BUCKETS.map((bucket, at) => [bucket, list[at] ?? 0])) as TokenCounts);
const prices = fc.array(fc.bigInt({ min: 0n, max: 200_000_000_000n }), { minLength: 7, maxLength: 7 });

describe('the cost of a call', () => {
  it('is the exact rational cost, rounded up once', () => {
    fc.assert(
      fc.property(
        counts,
        prices,
        fc.bigInt({ min: 0n, max: 10n ** 9n }),
        fc.bigInt({ min: 0n, max: 10n ** 8n }),
        (tokens, list, request, multiplier) => {
          // Reference: a fraction over a common denominator of its own, bucket by bucket.
          const numerator =
            TOKEN_BUCKETS.reduce(
              (sum, bucket, at) => sum + BigInt(tokens[bucket]) * (list[at] ?? 0n) * multiplier,
              0n,
            ) +
            request * 1_000_000n * multiplier;
          const cost = costOf(tokens, price(list, request, multiplier));
          expect(cost * 10n ** 12n - numerator).toBeGreaterThanOrEqual(0n);
          expect(cost * 10n ** 12n - numerator).toBeLessThan(10n ** 12n);
        },
      ),
      { seed: SEED, numRuns: 1_000 },
    );
  });

  it('of one token at the cheapest real price is not 0', () => {
    expect(costOf({ ...NO_TOKENS, inputUncached: 1 }, price([5_000_000n]))).toBe(5n);
    expect(costOf({ ...NO_TOKENS, inputUncached: 1 }, price([1n]))).toBe(1n);
  });

  it.each([
    [
      'gpt-4o-mini, 1,000 in and 500 out',
      { inputUncached: 1_000, output: 500 },
      [150_000_000n, 75_000_000n, 0n, 600_000_000n],
      450_000n,
    ],
    ['cached input at its own price', { inputUncached: 100, inputCached: 900 }, [150_000_000n, 75_000_000n], 82_500n],
    ['no tokens at all', {}, [150_000_000n], 0n],
  ])('%s', (_, tokens, list, expected) => {
    expect(costOf({ ...NO_TOKENS, ...tokens }, price(list))).toBe(expected);
  });

  it('never exceeds an estimate whose token counts are right', () => {
    fc.assert(
      fc.property(prices, fc.nat(10_000), fc.nat(4_000), (list, inputTokens, outputTokens) => {
        const frozen = price(list);
        const held = estimateCost(
          { ...TEXT_ONLY, textBytes: inputTokens * 3, maxOutputTokens: Math.max(1, outputTokens), choices: 1 },
          profile,
          frozen,
        );
        const half = Math.floor(outputTokens / 2);
        const cost = costOf(
          { ...NO_TOKENS, inputUncached: inputTokens, output: outputTokens - half, reasoning: half },
          frozen,
        );
        expect(cost).toBeLessThanOrEqual(held);
      }),
      { seed: SEED },
    );
  });

  it('of audio is estimated by its data, and each recording as no less than an image', () => {
    const frozen = price([0n, 0n, 0n, 0n, 0n, 1_000_000n]);
    const estimate = (audioParts: number, audioDataBytes: number): bigint =>
      estimateCost(
        { ...TEXT_ONLY, textBytes: 0, audioParts, audioDataBytes, maxOutputTokens: 1, choices: 1 },
        profile,
        frozen,
      );
    expect([estimate(0, 0), estimate(2, 0), estimate(1, 48_001)]).toEqual([0n, 3_000n, 2_001n]);
  });

  it('is estimated with the model’s reserve when no maximum is named, and never above its ceiling', () => {
    const frozen = price([0n, 0n, 0n, 1_000_000n]);
    const estimate = (maxOutputTokens: number | undefined, choices = 1): bigint =>
      estimateCost({ ...TEXT_ONLY, textBytes: 0, maxOutputTokens, choices }, profile, frozen);
    expect(estimate(undefined)).toBe(1_024n);
    expect(estimate(10)).toBe(10n);
    expect(estimate(1_000_000)).toBe(4_096n);
    expect(estimate(10, 3)).toBe(30n);
  });

  it('counts the tokens that it is made of: input of every kind, output of all choices', () => {
    const input = { ...TEXT_ONLY, textBytes: 10, images: 2, audioParts: 1, audioDataBytes: 48_001, choices: 3 };
    expect(estimateTokens({ ...input, maxOutputTokens: 100 }, profile)).toEqual({
      inputTokens: 4 + 2 * profile.tokensPerImage + 2_001,
      outputTokens: 300,
    });
    expect(estimateTokens({ ...input, maxOutputTokens: undefined }, profile).outputTokens).toBe(3 * 1_024);
    expect(estimateTokens({ ...input, maxOutputTokens: 1_000_000 }, profile).outputTokens).toBe(3 * 4_096);
  });
});
