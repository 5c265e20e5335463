import type { NanoUsd } from '../kernel/money';
import {
  costOf,
  type EstimateInput,
  estimateCost,
  estimateTokens,
  type FrozenPrice,
  type ModelProfile,
  type TokenCounts,
} from './price';

/** More than any answer has: what it does not fill costs nothing. */
const BOUNDLESS_TOKENS = 2 ** 40;

/**
 * What a hold covers, in tokens of output: input as estimated, the rest output at the dearest price that it may be
 * counted at. The same rule as the estimate, asked the other way round.
 */
export class HoldCoverage {
  constructor(
    private readonly input: EstimateInput,
    private readonly profile: ModelProfile,
    private readonly price: FrozenPrice,
  ) {}

  /** What the estimate reserved for all choices together. */
  get reservedTokens(): number {
    return estimateTokens(this.input, this.profile).outputTokens;
  }

  /** What is to be held for so much output. */
  amountFor(outputTokens: number): NanoUsd {
    const input = { ...this.input, maxOutputTokens: outputTokens, choices: 1 };
    return estimateCost(input, { ...this.profile, maxOutputTokens: null }, this.price);
  }

  /** The most output that an amount is enough for; Infinity where output costs nothing, 0 where input alone is more. */
  tokensFor(amount: NanoUsd): number {
    if (this.amountFor(BOUNDLESS_TOKENS) <= amount) return Infinity;
    return largest(BOUNDLESS_TOKENS, (tokens) => this.amountFor(tokens) <= amount);
  }
}

/** How many tokens of output more a budget is enough for, whichever kind they turn out to be. */
export function outputLeft(tokens: TokenCounts, price: FrozenPrice, budget: NanoUsd): number {
  const isWithin = (more: number): boolean =>
    costOf({ ...tokens, output: tokens.output + more }, price) <= budget &&
    costOf({ ...tokens, reasoning: tokens.reasoning + more }, price) <= budget;
  return largest(BOUNDLESS_TOKENS, isWithin);
}

/** The tokens, or as many of their output that they cost no more than the budget; input is never less. */
export function withinBudget(tokens: TokenCounts, price: FrozenPrice, budget: NanoUsd): TokenCounts {
  if (costOf(tokens, price) <= budget) return tokens;
  const fits = (output: number, reasoning: number): boolean =>
    costOf({ ...tokens, output, reasoning }, price) <= budget;
  const output = largest(tokens.output, (count) => fits(count, tokens.reasoning));
  if (fits(output, tokens.reasoning)) return { ...tokens, output };
  return { ...tokens, output: 0, reasoning: largest(tokens.reasoning, (count) => fits(0, count)) };
}

/** The largest count up to `most` that fits, where what fits has no gaps; 0 where none does. */
function largest(most: number, fits: (count: number) => boolean): number {
  let below = 0;
  let above = most + 1;
  while (above - below > 1) {
    const middle = Math.floor((below + above) / 2);
    if (fits(middle)) below = middle;
    else above = middle;
  }
  return below;
}
