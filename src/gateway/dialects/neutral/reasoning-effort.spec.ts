import fc from 'fast-check';
import { budgetOfEffort, budgetWithin, effortOfBudget, EFFORTS, MIN_THINKING_BUDGET_TOKENS } from './reasoning-effort';

describe('reasoning effort and budget', () => {
  it.each([
    ['minimal', 1_024],
    ['low', 2_048],
    ['medium', 8_192],
    ['high', 24_576],
    ['xhigh', 49_152],
    ['max', 98_304],
    ['something new', 8_192],
    ['none', undefined],
  ])('gives %s %p tokens to think with', (effort, budget) => {
    expect(budgetOfEffort(effort, 200_000)).toBe(budget);
  });

  it('leaves room for an answer, and gives nothing where there is none', () => {
    expect(budgetOfEffort('high', 4_096)).toBe(3_584);
    expect(budgetOfEffort('high', 1_100)).toBe(1_024);
    expect(budgetOfEffort('high', 1_024)).toBeUndefined();
    expect(budgetWithin(5_000, 8_000)).toBe(5_000);
    expect(budgetWithin(100, 8_000)).toBe(1_024);
  });

  it('is always what Anthropic takes: at least 1,024 and below the maximum', () => {
    fc.assert(
      fc.property(fc.constantFrom(...EFFORTS), fc.integer({ min: 1, max: 300_000 }), (effort, max) => {
        const budget = budgetOfEffort(effort, max);
        if (budget === undefined) expect(max).toBeLessThanOrEqual(MIN_THINKING_BUDGET_TOKENS);
        else expect(budget >= MIN_THINKING_BUDGET_TOKENS && budget < max).toBe(true);
      }),
    );
  });

  it.each(['low', 'medium', 'high'] as const)('takes the budget of %s for the same effort', (effort) => {
    expect(effortOfBudget(budgetOfEffort(effort, 200_000) ?? 0)).toBe(effort);
  });
});
