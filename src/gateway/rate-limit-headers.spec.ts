import { refuse } from '../kernel/errors';
import { nanoUsd } from '../kernel/money';
import { type CallerLimits, NO_LIMITS } from '../quota/scopes/caller-limits';
import type { CountedScope, Measure } from '../quota/scopes/scope';
import { scopesOf } from '../quota/scopes/scope-plan';
import {
  anthropicRateLimitHeaders,
  openAiRateLimitHeaders,
  rateLimitsOf,
  rateLimitsOfRefusal,
} from './rate-limit-headers';

const NOW_MS = Date.parse('2026-11-21T12:00:00.250Z');
const HOUR_MS = 3_600_000;

const window = (counter: string, used: number, resetsInMs: number, measure: Measure = 'requests'): CountedScope => ({
  counter,
  measure,
  isRolling: false,
  startMs: 0,
  endMs: NOW_MS + resetsInMs,
  used: BigInt(used),
});
const rolling = (counter: string, used: number, measure: Measure = 'requests'): CountedScope => ({
  counter,
  measure,
  isRolling: true,
  startMs: Date.parse('2026-11-21T12:00:00Z'),
  endMs: 0,
  used: BigInt(used),
});

const DAY = window('day', 3, 7 * HOUR_MS + 59_001);
const MONTH = window('month', 40, 200 * HOUR_MS);

function headersOf(counted: readonly CountedScope[], limits: Partial<CallerLimits>): Readonly<Record<string, string>> {
  const caller = { tenantId: 't', timezone: 'UTC', creditLimit: nanoUsd(0n), ...NO_LIMITS, ...limits };
  const scopes = scopesOf(caller, { service: 'chat', platform: 'openai', globalZone: 'UTC' });
  return openAiRateLimitHeaders(rateLimitsOf(counted, scopes), NOW_MS);
}

const requests = (limit: string, remaining: string, reset: string): Readonly<Record<string, string>> => ({
  'x-ratelimit-limit-requests': limit,
  'x-ratelimit-remaining-requests': remaining,
  'x-ratelimit-reset-requests': reset,
});
const tokens = (limit: string, remaining: string, reset: string): Readonly<Record<string, string>> => ({
  'x-ratelimit-limit-tokens': limit,
  'x-ratelimit-remaining-tokens': remaining,
  'x-ratelimit-reset-tokens': reset,
});

const WITH_ALLOWANCE: Partial<CallerLimits> = { allowances: new Map([['chat', 10]]) };
const WITH_KEY_LIMIT: Partial<CallerLimits> = {
  key: { apiKeyId: 'k', budget: null, usd5h: null, usd1d: nanoUsd(100n), usd7d: null },
};
const USER = { userId: 'u', rpm: 20, platforms: new Map() };
const GROUP = { groupId: 'g', rpm: 10 };

describe('the rate limits of an admitted call', () => {
  it.each<[string, readonly CountedScope[], Partial<CallerLimits>, object]>([
    ['the day', [DAY], { dailyQuota: 10 }, requests('10', '7', '7h1m0s')],
    ['the month', [MONTH], { monthlyQuota: 50 }, requests('50', '10', '200h0m0s')],
    [
      'the fewest remaining: the day',
      [DAY, MONTH],
      { dailyQuota: 10, monthlyQuota: 50 },
      requests('10', '7', '7h1m0s'),
    ],
    [
      'the fewest remaining: the month',
      [DAY, MONTH],
      { dailyQuota: 100, monthlyQuota: 41 },
      requests('41', '1', '200h0m0s'),
    ],
    [
      'of as many remaining the one that lasts longer',
      [DAY, MONTH],
      { dailyQuota: 13, monthlyQuota: 50 },
      requests('50', '10', '200h0m0s'),
    ],
    ['no less than nothing', [DAY], { dailyQuota: 2 }, requests('2', '0', '7h1m0s')],
    ['the tenant’s minute', [DAY, rolling('rpm', 5)], { dailyQuota: 10, rpm: 6 }, requests('6', '1', '1m0s')],
    [
      'the user’s minute in the group',
      [rolling('group:g:u', 9), rolling('user:u:rpm', 9)],
      { user: USER, group: GROUP },
      requests('10', '1', '1m0s'),
    ],
    [
      'the user’s minute everywhere',
      [rolling('group:g:u', 1), rolling('user:u:rpm', 15)],
      { user: USER, group: GROUP },
      requests('20', '5', '1m0s'),
    ],
    [
      'requests and tokens, each by itself',
      [DAY, rolling('tpm', 900, 'tokens')],
      { dailyQuota: 10, tpm: 1_000 },
      { ...requests('10', '7', '7h1m0s'), ...tokens('1000', '100', '1m0s') },
    ],
    ['no allowance: what is beyond it is paid for', [window('free:chat', 5, HOUR_MS)], WITH_ALLOWANCE, {}],
    ['no money', [window('key:k:1d', 5, HOUR_MS, 'usd')], WITH_KEY_LIMIT, {}],
    ['nothing where there is no limit', [], {}, {}],
  ])('tell of %s', (_, counted, limits, expected) => {
    expect(headersOf(counted, limits)).toEqual(expected);
  });

  it.each([
    [360_000, '6m0s'],
    [1, '1s'],
    [0, '0s'],
    [-5_000, '0s'],
  ])('write a wait of %i ms as %s', (waitMs, text) => {
    const headers = headersOf([window('day', 1, waitMs)], { dailyQuota: 5 });
    expect(headers['x-ratelimit-reset-requests']).toBe(text);
  });

  it('are told to Anthropic’s clients under their names, with the instant of the reset', () => {
    const limits = {
      requests: { limit: 10n, remaining: 7n, resetsAtMs: Date.parse('2026-11-22T00:00:00Z') },
      tokens: { limit: 1_000n, remaining: 0n, resetsAtMs: Date.parse('2026-11-21T12:00:59.001Z') },
    };
    expect(anthropicRateLimitHeaders(limits)).toEqual({
      'anthropic-ratelimit-requests-limit': '10',
      'anthropic-ratelimit-requests-remaining': '7',
      'anthropic-ratelimit-requests-reset': '2026-11-22T00:00:00Z',
      'anthropic-ratelimit-tokens-limit': '1000',
      'anthropic-ratelimit-tokens-remaining': '0',
      'anthropic-ratelimit-tokens-reset': '2026-11-21T12:01:00Z',
    });
    expect(anthropicRateLimitHeaders({})).toEqual({});
  });
});

describe('the rate limits of a refused call', () => {
  const resetsAt = new Date('2026-11-21T12:00:30Z');

  it('tell of the limit that refused it', () => {
    const refusal = refuse('TENANT_RPM_EXCEEDED', {
      quota: { scope: 'tenant_rpm', measure: 'requests', limit: 6n, used: 6n },
      windowResetsAt: resetsAt,
    });
    expect(openAiRateLimitHeaders(rateLimitsOfRefusal(refusal), NOW_MS)).toEqual(requests('6', '0', '30s'));
    expect(anthropicRateLimitHeaders(rateLimitsOfRefusal(refusal))).toMatchObject({
      'anthropic-ratelimit-requests-reset': '2026-11-21T12:00:30Z',
    });
  });

  it('tell how many tokens are left though they do not suffice, and of no reset where waiting does not help', () => {
    const quota = { scope: 'tenant_tpm', measure: 'tokens', limit: 1_000n, used: 100n } as const;
    const refusal = refuse('TENANT_TPM_EXCEEDED', { quota });
    expect(openAiRateLimitHeaders(rateLimitsOfRefusal(refusal), NOW_MS)).toEqual({
      'x-ratelimit-limit-tokens': '1000',
      'x-ratelimit-remaining-tokens': '900',
    });
    expect(anthropicRateLimitHeaders(rateLimitsOfRefusal(refusal))).toEqual({
      'anthropic-ratelimit-tokens-limit': '1000',
      'anthropic-ratelimit-tokens-remaining': '900',
    });
  });

  it.each([
    refuse('QUOTA_BUDGET_EXCEEDED', { quota: { scope: 'key_budget', measure: 'usd', limit: 5n, used: 5n } }),
    refuse('CONCURRENCY_EXCEEDED', {
      quota: { scope: 'tenant_concurrency', measure: 'requests', limit: 5n, used: 5n },
    }),
    refuse('QUOTA_BALANCE_EXCEEDED'),
    refuse('INVALID_REQUEST'),
  ])('tell nothing where no rate refused: $code', (refusal) => {
    expect(rateLimitsOfRefusal(refusal)).toEqual({});
  });
});
