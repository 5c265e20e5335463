/**
 * OpenAI's dialects ask for an effort, Anthropic's for a budget of tokens to think with: what one means in the other. The
 * budgets of a client that names an effort are a choice of this gateway; an effort that it does not know is as `medium`.
 */
export const EFFORTS = ['minimal', 'low', 'medium', 'high', 'xhigh', 'max'] as const;
export type Effort = (typeof EFFORTS)[number];

/** The least that Anthropic takes; a budget must also leave room for an answer below the maximum of both. */
export const MIN_THINKING_BUDGET_TOKENS = 1_024;

const BUDGETS: Readonly<Record<Effort, number>> = {
  minimal: MIN_THINKING_BUDGET_TOKENS,
  low: 2_048,
  medium: 8_192,
  high: 24_576,
  xhigh: 49_152,
  max: 98_304,
};

/** What is left for the answer itself when the budget has to be cut. */
const MIN_ANSWER_TOKENS = 512;

function isEffort(effort: string): effort is Effort {
  return EFFORTS.some((known) => known === effort);
}

/**
 * Tokens to think with, ≥ 1,024 and below the maximum of thought and answer together; undefined where the effort is none,
 * or the maximum too small to think at all.
 */
export function budgetOfEffort(effort: string, maxOutputTokens: number): number | undefined {
  if (effort === 'none') return undefined;
  return budgetWithin(BUDGETS[isEffort(effort) ? effort : 'medium'], maxOutputTokens);
}

/** The same of a budget that a client named. */
export function budgetWithin(budgetTokens: number, maxOutputTokens: number): number | undefined {
  const room = Math.max(MIN_THINKING_BUDGET_TOKENS, maxOutputTokens - MIN_ANSWER_TOKENS);
  const budget = Math.max(MIN_THINKING_BUDGET_TOKENS, Math.min(budgetTokens, room));
  return budget < maxOutputTokens ? budget : undefined;
}

/** As OpenAI's models know them: `low`, `medium`, `high`. */
export function effortOfBudget(budgetTokens: number): 'low' | 'medium' | 'high' {
  if (budgetTokens < 4_096) return 'low';
  return budgetTokens < 16_384 ? 'medium' : 'high';
}
