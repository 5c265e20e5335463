import fc from 'fast-check';
import { referenceCost } from '../../test/support/rational-cost';
import { nanoUsd } from '../kernel/money';
import {
  type BucketPrices,
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

type Tiers = readonly { readonly above: number; readonly list: readonly bigint[] }[];

const byBucket = (list: readonly bigint[]): BucketPrices =>
  Object.fromEntries(TOKEN_BUCKETS.map((bucket, at) => [bucket, list[at] ?? 0n])) as BucketPrices;

const price = (
  perMillion: readonly bigint[],
  perRequest = 0n,
  multiplier = 1_000_000n,
  tiers: Tiers = [],
): FrozenPrice => ({
  version: '1',
  perMillionTokens: byBucket(perMillion),
  tiers: tiers.map(({ above, list }) => ({ aboveInputTokens: above, perMillionTokens: byBucket(list) })),
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

/** Near each other, so that calls reach some of them. */
const tiersUpTo = (max: number): fc.Arbitrary<Tiers> =>
  fc
    .uniqueArray(fc.record({ above: fc.integer({ min: 1, max }), list: prices }), {
      maxLength: 4,
      selector: ({ above }) => above,
    })
    .map((tiers) => tiers.sort((a, b) => a.above - b.above));
const multipliers = fc.oneof(
  fc.constant(1_000_000n),
  fc.bigInt({ min: 1n, max: 999_999n }),
  fc.bigInt({ min: 1n, max: 10n ** 8n }),
);

describe('the cost of a call', () => {
  it('is the exact rational cost of the tier it reaches, rounded up once', () => {
    const reached = new Set<number>();
    fc.assert(
      fc.property(
        counts,
        prices,
        tiersUpTo(6_000_000),
        fc.bigInt({ min: 0n, max: 10n ** 9n }),
        multipliers,
        (tokens, list, tiers, request, multiplier) => {
          const exact = referenceCost(tokens, {
            base: byBucket(list),
            tiers: tiers.map(({ above, list: ofTier }) => ({ above, prices: byBucket(ofTier) })).reverse(),
            perRequest: request,
            multiplierMillionths: multiplier,
          });
          reached.add(
            tiers.filter(({ above }) => above < tokens.inputUncached + tokens.inputCached + tokens.cacheWrite).length,
          );
          expect(costOf(tokens, price(list, request, multiplier, tiers))).toBe(exact.roundedUp());
        },
      ),
      { seed: SEED, numRuns: 1_000 },
    );
    expect([...reached].sort()).toEqual([0, 1, 2, 3, 4]);
  });

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

  it.each([
    ['at the threshold', { inputUncached: 200_000, output: 1 }, 200_000n + 10n],
    ['one token above it, of uncached input', { inputUncached: 200_001, output: 1 }, 400_002n + 20n],
    ['above it by cached input', { inputUncached: 1, inputCached: 200_000, output: 1 }, 400_002n + 20n],
    ['above it by a cache write', { cacheWrite: 200_001 }, 400_002n],
    ['not by what is no input', { inputUncached: 1, output: 500_000 }, 1n + 5_000_000n],
    ['above the next', { inputUncached: 300_001 }, 900_003n],
  ])('is by the tier of its whole input: %s', (_, tokens, expected) => {
    const each = (price: bigint): bigint[] => [price, price, price, 10n * price, 10n * price, price, price];
    const tiered = price(each(1_000_000n), 0n, 1_000_000n, [
      { above: 200_000, list: each(2_000_000n) },
      { above: 300_000, list: each(3_000_000n) },
    ]);
    expect(costOf({ ...NO_TOKENS, ...tokens }, tiered)).toBe(expected);
  });

  it('is never 0 for any tokens that have a price, whatever the multiplier', () => {
    const CHEAPEST_REAL = 5_000_000n;
    fc.assert(
      fc.property(
        fc.constantFrom(...TOKEN_BUCKETS),
        fc.integer({ min: 1, max: 1_000 }),
        fc.oneof(fc.constant(1n), multipliers),
        fc.constantFrom(1n, CHEAPEST_REAL),
        (bucket, count, multiplier, each) => {
          const cost = costOf({ ...NO_TOKENS, [bucket]: count }, price(Array<bigint>(7).fill(each), 0n, multiplier));
          expect(cost).toBeGreaterThan(0n);
        },
      ),
      { seed: SEED, numRuns: 500 },
    );
    expect(costOf({ ...NO_TOKENS, output: 3 }, price(Array<bigint>(7).fill(CHEAPEST_REAL), 0n, 500_000n))).toBe(8n);
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

  it('never exceeds its estimate, whichever tiers and buckets usage of at most its tokens falls into', () => {
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(
        prices,
        tiersUpTo(12_000),
        multipliers,
        fc.nat(10_000),
        fc.integer({ min: 1, max: 4_000 }),
        fc.array(share, { minLength: 5, maxLength: 5 }),
        (
          list,
          tiers,
          multiplier,
          inputTokens,
          outputTokens,
          [used = 0, cached = 0, written = 0, answered = 0, thought = 0],
        ) => {
          const frozen = price(list, 7n, multiplier, tiers);
          const held = estimateCost(
            { ...TEXT_ONLY, textBytes: inputTokens * 3, maxOutputTokens: outputTokens, choices: 1 },
            profile,
            frozen,
          );
          const input = Math.floor(used * inputTokens);
          const inputCached = Math.floor(cached * input);
          const cacheWrite = Math.floor(written * (input - inputCached));
          const output = Math.floor(answered * outputTokens);
          const reasoning = Math.floor(thought * output);
          const usage = { inputUncached: input - inputCached - cacheWrite, inputCached, cacheWrite };
          const cost = costOf({ ...NO_TOKENS, ...usage, output: output - reasoning, reasoning }, frozen);
          expect(cost).toBeLessThanOrEqual(held);
        },
      ),
      { seed: SEED, numRuns: 1_000 },
    );
  });

  it('is estimated at a cheaper tier’s price only where no dearer one can be met', () => {
    const estimate = (textBytes: number): bigint =>
      estimateCost(
        { ...TEXT_ONLY, textBytes, maxOutputTokens: 1, choices: 1 },
        profile,
        price([1_000_000n], 0n, 1_000_000n, [
          { above: 100, list: [5_000_000n] },
          { above: 200, list: [2_000_000n] },
        ]),
      );
    expect([estimate(300), estimate(303), estimate(603)]).toEqual([100n, 505n, 1_005n]);
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
