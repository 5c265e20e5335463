import type { ModelProfile } from './price';

const OUTPUT_RESERVE_TOKENS = 1_024;
/** Reasoning models think before they answer, and the thinking is output too. */
const REASONING_OUTPUT_RESERVE_TOKENS = 8_192;
const TOKENS_PER_IMAGE = 1_500;

export function defaultOutputReserveTokens(isReasoning: boolean): number {
  return isReasoning ? REASONING_OUTPUT_RESERVE_TOKENS : OUTPUT_RESERVE_TOKENS;
}

/** For a model nobody described. */
export function defaultProfile(model: string): ModelProfile {
  return {
    model,
    isReasoning: false,
    defaultOutputReserveTokens: defaultOutputReserveTokens(false),
    maxOutputTokens: null,
    tokensPerImage: TOKENS_PER_IMAGE,
  };
}
