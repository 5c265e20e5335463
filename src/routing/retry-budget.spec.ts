import { HandClock } from '../../test/support/upstream-harness';
import { RetryBudget } from './retry-budget';

describe('the retry budget', () => {
  let clock: HandClock;
  let budget: RetryBudget;

  beforeEach(() => {
    clock = new HandClock();
    budget = new RetryBudget(20, clock);
  });

  function spendAll(): number {
    let spent = 0;
    while (spent < 100_000 && budget.spend()) spent += 1;
    return spent;
  }

  it('is ten a second where hardly any call comes', () => {
    expect(spendAll()).toBe(100);
    clock.ms += 9_000;
    expect(spendAll()).toBe(0);
    clock.ms += 1_000;
    expect(spendAll()).toBe(100);
  });

  it('is a fifth of the calls of the last ten seconds beside that', () => {
    for (let call = 0; call < 5_000; call += 1) budget.countCall();
    expect(spendAll()).toBe(1_100);
    clock.ms += 5_000;
    for (let call = 0; call < 1_000; call += 1) budget.countCall();
    expect(spendAll()).toBe(200);
    // The first calls and their retries are forgotten together.
    clock.ms += 5_000;
    expect(spendAll()).toBe(100);
  });

  it('keeps an outage from more than a fifth of load beside the calls', () => {
    let retries = 0;
    for (let call = 0; call < 60_000; call += 1) {
      clock.ms += 1;
      budget.countCall();
      if (budget.spend()) retries += 1;
    }
    expect(retries).toBeGreaterThan(60_000 * 0.2);
    expect(retries).toBeLessThanOrEqual(60_000 * 0.2 + 7 * 100);
  });

  it('forgets everything after a silence of any length', () => {
    for (let call = 0; call < 5_000; call += 1) budget.countCall();
    clock.ms += 86_400_000;
    expect(spendAll()).toBe(100);
  });

  it('is nothing at 0 percent', () => {
    budget = new RetryBudget(0, clock);
    for (let call = 0; call < 5_000; call += 1) budget.countCall();
    expect(budget.spend()).toBe(false);
  });
});
