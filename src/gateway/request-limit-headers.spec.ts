import { requestLimitHeaders } from './request-limit-headers';

const NOW_MS = Date.parse('2026-11-21T12:00:00Z');
const HOUR_MS = 3_600_000;
const HOLD = {
  usedToday: 3,
  usedThisMonth: 40,
  dayWindow: { startMs: 0, endMs: NOW_MS + 7 * HOUR_MS + 59_001 },
  monthWindow: { startMs: 0, endMs: NOW_MS + 200 * HOUR_MS },
};

describe('the headers of a request quota', () => {
  it.each<[string, number | null, number | null, string[]]>([
    ['the day', 10, null, ['10', '7', '7h1m0s']],
    ['the month', null, 50, ['50', '10', '200h0m0s']],
    ['the one with fewer left: the day', 10, 50, ['10', '7', '7h1m0s']],
    ['the one with fewer left: the month', 100, 41, ['41', '1', '200h0m0s']],
    ['no less than nothing left', 2, null, ['2', '0', '7h1m0s']],
  ])('tell of %s', (_, dailyQuota, monthlyQuota, [limit, remaining, reset]) => {
    expect(requestLimitHeaders(HOLD, { dailyQuota, monthlyQuota }, NOW_MS)).toEqual({
      'x-ratelimit-limit-requests': limit,
      'x-ratelimit-remaining-requests': remaining,
      'x-ratelimit-reset-requests': reset,
    });
  });

  it('are not there where there is no quota', () => {
    expect(requestLimitHeaders(HOLD, { dailyQuota: null, monthlyQuota: null }, NOW_MS)).toEqual({});
  });

  it.each([
    [360_000, '6m0s'],
    [1, '1s'],
    [0, '0s'],
    [-5_000, '0s'],
  ])('write a wait of %i ms as %s', (waitMs, text) => {
    const hold = { ...HOLD, dayWindow: { startMs: 0, endMs: NOW_MS + waitMs } };
    const headers = requestLimitHeaders(hold, { dailyQuota: 5, monthlyQuota: null }, NOW_MS);
    expect(headers['x-ratelimit-reset-requests']).toBe(text);
  });
});
