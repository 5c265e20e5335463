import * as fc from 'fast-check';
import { nanoUsd } from '../kernel/money';
import { HoldCoverage, outputLeft, withinBudget } from './hold-coverage';
import { costOf, type EstimateInput, estimateCost, type FrozenPrice, NO_TOKENS, type TokenCounts } from './price';

const SEED = 20_261_121;
const PROFILE = {
  model: 'm',
  isReasoning: false,
  defaultOutputReserveTokens: 1_024,
  maxOutputTokens: 4_096,
  tokensPerImage: 1_500,
};
const INPUT: EstimateInput = {
  textBytes: 30,
  images: 0,
  audioParts: 0,
  audioDataBytes: 0,
  maxOutputTokens: 100,
  choices: 3,
  asksForAudio: false,
  asksForImages: false,
};

function priceOf(input: bigint, output: bigint, reasoning = output, more: Partial<FrozenPrice> = {}): FrozenPrice {
  const rest = { inputCached: 0n, cacheWrite: 0n, audio: 0n, image: 0n };
  const perMillionTokens = { ...rest, inputUncached: input, output, reasoning };
  const base = { version: '1', perMillionTokens, tiers: [], perRequestNanoUsd: nanoUsd(0n) };
  return { ...base, multiplierMillionths: 1_000_000n, ...more };
}

const anyPrice = fc
  .record({
    input: fc.bigInt({ min: 0n, max: 10n ** 11n }),
    output: fc.bigInt({ min: 1n, max: 10n ** 11n }),
    reasoning: fc.bigInt({ min: 0n, max: 10n ** 11n }),
    tierOutput: fc.bigInt({ min: 1n, max: 10n ** 11n }),
    perRequest: fc.bigInt({ min: 0n, max: 10n ** 9n }),
    multiplier: fc.bigInt({ min: 1n, max: 10n ** 7n }),
  })
  .map(({ input, output, reasoning, tierOutput, perRequest, multiplier }) =>
    priceOf(input, output, reasoning, {
      tiers: [{ aboveInputTokens: 500, ...priceTier(input, tierOutput) }],
      perRequestNanoUsd: nanoUsd(perRequest),
      multiplierMillionths: multiplier,
    }),
  );
const priceTier = (input: bigint, output: bigint): Pick<FrozenPrice, 'perMillionTokens'> => priceOf(input, output);
const anyTokens = fc
  .record({ inputUncached: fc.nat(2_000), output: fc.nat(100_000), reasoning: fc.nat(100_000) })
  .map((some): TokenCounts => ({ ...NO_TOKENS, ...some }));
const anyBudget = fc.bigInt({ min: 0n, max: 10n ** 13n }).map((amount) => nanoUsd(amount));

describe('what a hold covers', () => {
  it('is the output that its estimate reserved, of all choices together', () => {
    const price = priceOf(1_000_000_000n, 2_000_000_000n);
    const coverage = new HoldCoverage(INPUT, PROFILE, price);
    const hold = estimateCost(INPUT, PROFILE, price);
    expect([hold, coverage.reservedTokens, coverage.amountFor(300)]).toEqual([610_000n, 300, hold]);
    expect([610_000n, 609_999n, 10_000n, 9_999n, 0n].map((amount) => coverage.tokensFor(nanoUsd(amount)))).toEqual([
      300, 299, 0, 0, 0,
    ]);
  });

  it('has no end where output costs nothing', () => {
    const coverage = new HoldCoverage(INPUT, PROFILE, priceOf(1_000_000_000n, 0n));
    expect(coverage.tokensFor(nanoUsd(10_000n))).toBe(Infinity);
  });

  it('is the most that an amount is enough for, whatever the price', () => {
    fc.assert(
      fc.property(anyPrice, anyBudget, (price, amount) => {
        const coverage = new HoldCoverage(INPUT, PROFILE, price);
        const tokens = coverage.tokensFor(amount);
        if (tokens === Infinity) return;
        if (tokens > 0) expect(coverage.amountFor(tokens)).toBeLessThanOrEqual(amount);
        expect(coverage.amountFor(tokens + 1)).toBeGreaterThan(amount);
      }),
      { seed: SEED },
    );
  });
});

describe('what is left of a budget', () => {
  it('is the most output that still fits, whichever kind it is counted as', () => {
    fc.assert(
      fc.property(anyPrice, anyTokens, anyBudget, (price, tokens, budget) => {
        const left = outputLeft(tokens, price, budget);
        const costs = (more: number): bigint[] => [
          costOf({ ...tokens, output: tokens.output + more }, price),
          costOf({ ...tokens, reasoning: tokens.reasoning + more }, price),
        ];
        if (left > 0) for (const cost of costs(left)) expect(cost).toBeLessThanOrEqual(budget);
        if (left < 2 ** 40) expect(costs(left + 1).some((cost) => cost > budget)).toBe(true);
      }),
      { seed: SEED },
    );
  });
});

describe('tokens within a budget', () => {
  it('are all of them where they fit, else as much of the output as does; the input stays', () => {
    fc.assert(
      fc.property(anyPrice, anyTokens, anyBudget, (price, tokens, budget) => {
        const billed = withinBudget(tokens, price, budget);
        expect(billed.inputUncached).toBe(tokens.inputUncached);
        if (costOf(tokens, price) <= budget) {
          expect(billed).toEqual(tokens);
          return;
        }
        const isInputTooMuch = costOf({ ...tokens, output: 0, reasoning: 0 }, price) > budget;
        if (isInputTooMuch) expect([billed.output, billed.reasoning]).toEqual([0, 0]);
        else expect(costOf(billed, price)).toBeLessThanOrEqual(budget);
        // One more of what was left out would be too much.
        const isOutputCut = billed.output < tokens.output && billed.reasoning === tokens.reasoning;
        const oneMore = isOutputCut
          ? { ...billed, output: billed.output + 1 }
          : { ...billed, reasoning: billed.reasoning + 1 };
        expect(costOf(oneMore, price)).toBeGreaterThan(budget);
      }),
      { seed: SEED },
    );
  });
});
