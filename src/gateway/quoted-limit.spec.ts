import { refuse } from '../kernel/errors';
import { nanoUsd } from '../kernel/money';
import type { AdmittedHold, HoldRequest } from '../quota/quota-store.port';
import { type CallerLimits, NO_LIMITS } from '../quota/scopes/caller-limits';
import type { CountedScope, Measure } from '../quota/scopes/scope';
import { scopesOf } from '../quota/scopes/scope-plan';
import { bindingLimit, countedBefore, type QuotedLimit, refusingLimit } from './quoted-limit';

const END_MS = Date.parse('2026-11-22T00:00:00Z');

const counted = (counter: string, measure: Measure, used: bigint): CountedScope => ({
  counter,
  measure,
  isRolling: false,
  startMs: 0,
  endMs: END_MS,
  used,
});

interface Found {
  readonly balance: bigint;
  readonly amount?: bigint;
  readonly tokens?: number;
  readonly funding?: AdmittedHold['funding'];
  readonly counted?: readonly CountedScope[];
  readonly limits?: Partial<CallerLimits>;
}

function bound(found: Found): QuotedLimit | undefined {
  const limits = { tenantId: 't', timezone: 'UTC', creditLimit: nanoUsd(0n), ...NO_LIMITS, ...found.limits };
  const request = { limits, amount: nanoUsd(found.amount ?? 10n), tokens: found.tokens ?? 100 } as HoldRequest;
  const hold = {
    funding: found.funding ?? 'wallet',
    balanceBefore: nanoUsd(found.balance),
    counted: found.counted ?? [],
  } as unknown as AdmittedHold;
  return bindingLimit(hold, request, scopesOf(limits, { service: 'chat', platform: 'openai', globalZone: 'UTC' }));
}

const KEY = { apiKeyId: 'k', budget: nanoUsd(1_000n), usd5h: null, usd1d: null, usd7d: null };

describe('the limit that binds a call which passes', () => {
  it('is the balance where there is nothing else', () => {
    expect(bound({ balance: 55n })).toEqual({
      scope: 'balance',
      measure: 'usd',
      limit: null,
      used: null,
      remaining: 55n,
      resetsAtMs: undefined,
    });
  });

  it('is told without the call itself', () => {
    expect(bound({ balance: 1_000n, counted: [counted('day', 'requests', 4n)], limits: { dailyQuota: 10 } })).toEqual({
      scope: 'tenant_day',
      measure: 'requests',
      limit: 10n,
      used: 3n,
      remaining: 7n,
      resetsAtMs: END_MS,
    });
  });

  it.each<[string, bigint, bigint, string]>([
    // 10 nano-USD a call: balance for 7 calls against 6 and 8 left in the day.
    ['fewest calls are left of the day', 70n, 5n, 'tenant_day'],
    ['fewest calls are left of the balance', 70n, 3n, 'balance'],
    ['as many are left of both, the balance refuses first', 70n, 4n, 'balance'],
    ['a part of a call decides', 71n, 4n, 'tenant_day'],
  ])('is the one that the same call reaches first: %s', (_, balance, usedWithCall, scope) => {
    const day = counted('day', 'requests', usedWithCall);
    expect(bound({ balance, counted: [day], limits: { dailyQuota: 10 } })?.scope).toBe(scope);
  });

  it('compares requests, money and tokens by what the call takes of each', () => {
    const limits = { dailyQuota: 1_000, tpm: 1_000, key: KEY };
    const all = [
      counted('day', 'requests', 1n),
      { ...counted('tpm', 'tokens', 100n), isRolling: true, startMs: END_MS, endMs: 0 },
      counted('key:k:budget', 'usd', 10n),
    ];
    // 1,000 calls of the day, 100 of the budget, 10 of the tokens of a minute.
    expect(bound({ balance: 10n ** 9n, counted: all, limits })).toMatchObject({
      scope: 'tenant_tpm',
      remaining: 1_000n,
      resetsAtMs: END_MS + 60_000,
    });
    expect(bound({ balance: 10n ** 9n, counted: all.slice(2), limits })).toMatchObject({ scope: 'key_budget' });
  });

  it('has no reset for a limit of a whole life', () => {
    const budget = { ...counted('key:k:budget', 'usd', 10n), endMs: 0 };
    expect(bound({ balance: 10n ** 9n, counted: [budget], limits: { key: KEY } })).toMatchObject({
      scope: 'key_budget',
      remaining: 1_000n,
      resetsAtMs: undefined,
    });
  });

  it('is not the balance where another pays, nor an allowance: what is beyond it is paid for', () => {
    const limits: Partial<CallerLimits> = { allowances: new Map([['chat', 3]]) };
    expect(bound({ balance: 0n, funding: 'allowance', counted: [counted('free:chat', 'requests', 3n)], limits })).toBe(
      undefined,
    );
    expect(bound({ balance: 0n, funding: 'subscription' })).toBeUndefined();
  });

  it('is no limit of money for a call that costs nothing', () => {
    expect(bound({ balance: 0n, amount: 0n })).toBeUndefined();
  });
});

describe('what a quote finds counted', () => {
  it('leaves the quoted call out of every measure', () => {
    const hold = {
      counted: [counted('a', 'requests', 5n), counted('b', 'usd', 50n), counted('c', 'tokens', 500n)],
    } as unknown as AdmittedHold;
    const request = { amount: nanoUsd(10n), tokens: 100 } as HoldRequest;
    expect(countedBefore(hold, request).map(({ used }) => used)).toEqual([4n, 40n, 400n]);
  });
});

describe('the limit that refuses a call', () => {
  it('is the one that its refusal names', () => {
    const quota = { scope: 'key_5h', measure: 'usd', limit: 100n, used: 95n } as const;
    const refusal = refuse('API_KEY_RATE_LIMIT_5H_EXCEEDED', { quota, windowResetsAt: new Date(END_MS) });
    expect(refusingLimit(refusal)).toEqual({ ...quota, remaining: 5n, resetsAtMs: END_MS });
  });

  it('is the balance with what is left of it, also below zero', () => {
    for (const [available, remaining] of [
      ['0.000000005', 5n],
      ['-1.000000000', -1_000_000_000n],
    ] as const) {
      const refusal = refuse('QUOTA_BALANCE_EXCEEDED', { values: { needed: '2.000000000', available } });
      expect(refusingLimit(refusal)).toMatchObject({ scope: 'balance', remaining, limit: null });
    }
  });

  it('is none where no limit refused', () => {
    expect(refusingLimit(refuse('SUBSCRIPTION_INVALID'))).toBeUndefined();
  });
});
