import { nanoUsd, ZERO_NANO_USD } from '../../src/kernel/money';
import type { QuotaMode } from '../../src/quota/authority-row';
import type { ReserveOutcome } from '../../src/quota/quota-store.port';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { createTenant, holdRequest, type MoneyProcess, openCharge, outputOf, reserve } from '../support/money-harness';
import { admitted, keyLimits, NOON_MS, PLENTY, QuotaStage, subscription, userLimits } from './postgres-quota-stage';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

describe.each<QuotaMode>(['redis', 'postgres'])('every scope while %s decides', (mode) => {
  let stage: QuotaStage;
  let money: MoneyProcess;

  beforeAll(async () => {
    stage = await QuotaStage.open(mode);
    ({ money } = stage);
  });

  afterAll(() => stage.close());

  beforeEach(() => {
    stage.clock.offsetMs = NOON_MS - Date.now();
  });

  describe.each<[string, (limit: bigint) => Partial<CallerLimits>, string, string, 'requests' | 'usd', number | null]>([
    ['requests a day', (n) => ({ dailyQuota: Number(n) }), 'tenant_day', 'QUOTA_DAILY_EXCEEDED', 'requests', 17],
    [
      'requests a month',
      (n) => ({ monthlyQuota: Number(n) }),
      'tenant_month',
      'QUOTA_MONTHLY_EXCEEDED',
      'requests',
      31,
    ],
    ['a key’s budget', (n) => keyLimits({ budget: nanoUsd(n) }), 'key_budget', 'QUOTA_BUDGET_EXCEEDED', 'usd', null],
    [
      'a user’s day',
      (n) => userLimits('day', n),
      'user_platform_day',
      'USER_PLATFORM_DAILY_QUOTA_EXHAUSTED',
      'usd',
      17,
    ],
    [
      'a user’s week',
      (n) => userLimits('week', n),
      'user_platform_week',
      'USER_PLATFORM_WEEKLY_QUOTA_EXHAUSTED',
      'usd',
      21,
    ],
    [
      'a subscription’s day',
      (n) => subscription({ day: nanoUsd(n) }),
      'subscription_day',
      'DAILY_LIMIT_EXCEEDED',
      'usd',
      17,
    ],
    [
      'a subscription’s week',
      (n) => subscription({ week: nanoUsd(n) }),
      'subscription_week',
      'WEEKLY_LIMIT_EXCEEDED',
      'usd',
      21,
    ],
    [
      'a subscription’s month',
      (n) => subscription({ month: nanoUsd(n) }),
      'subscription_month',
      'MONTHLY_LIMIT_EXCEEDED',
      'usd',
      31,
    ],
  ])('%s', (_, overrides, scope, code, measure, resetDayOfJune) => {
    it('admits exactly its limit, and the refusal names scope, limit, use and reset', async () => {
      const limits = await createTenant(money, PLENTY, overrides(measure === 'usd' ? 100n : 2n));
      await admitted(reserve(money, limits, 40n));
      await admitted(reserve(money, limits, measure === 'usd' ? 60n : 0n));
      const outcome = await reserve(money, limits, measure === 'usd' ? 1n : 0n);
      const used = measure === 'usd' ? 100n : 2n;
      expect(outcome).toMatchObject({
        admitted: false,
        refusal: { code, quota: { scope, measure, limit: used, used } },
      });
      const reset = outcome.admitted ? undefined : outcome.refusal.windowResetsAt;
      // Calendar windows end at a midnight of June 2027: the day on the 17th, the week on Monday the 21st, the month after the 30th.
      expect(reset?.getTime()).toBe(resetDayOfJune === null ? undefined : Date.UTC(2027, 5, resetDayOfJune));
    });
  });

  describe.each<[string, (limit: bigint) => Partial<CallerLimits>, string, number]>([
    ['a key’s 5 hours', (n) => keyLimits({ usd5h: nanoUsd(n) }), 'API_KEY_RATE_LIMIT_5H_EXCEEDED', 5 * HOUR_MS],
    ['a key’s day', (n) => keyLimits({ usd1d: nanoUsd(n) }), 'API_KEY_RATE_LIMIT_1D_EXCEEDED', DAY_MS],
    ['a key’s 7 days', (n) => keyLimits({ usd7d: nanoUsd(n) }), 'API_KEY_RATE_LIMIT_7D_EXCEEDED', 7 * DAY_MS],
    ['a user’s 30 days', (n) => userLimits('month', n), 'USER_PLATFORM_MONTHLY_QUOTA_EXHAUSTED', 30 * DAY_MS],
  ])('%s', (_, overrides, code, durationMs) => {
    it('begin with the first use, admit exactly the limit, and begin again after their end', async () => {
      const limits = await createTenant(money, PLENTY, overrides(100n));
      const first = await admitted(reserve(money, limits, 100n));
      const [window] = first.counted;
      expect(window?.startMs).toBeGreaterThanOrEqual(NOON_MS - 1_000);
      expect(window?.endMs).toBe((window?.startMs ?? 0) + durationMs);
      const refused = await reserve(money, limits, 1n);
      expect(refused).toMatchObject({ refusal: { code, windowResetsAt: new Date(window?.endMs ?? 0) } });
      stage.clock.offsetMs += durationMs - 60_000;
      expect(await reserve(money, limits, 1n)).toMatchObject({ refusal: { code } });
      stage.clock.offsetMs += 61_000;
      const next = await admitted(reserve(money, limits, 100n));
      expect(next.counted[0]?.startMs).toBeGreaterThanOrEqual(window?.endMs ?? 0);
      expect(next.counted[0]?.used).toBe(100n);
    });

    it('have not begun where everything was given back', async () => {
      const limits = await createTenant(money, PLENTY, overrides(100n));
      const charge = await openCharge(money, limits, 100n);
      await charge.durable();
      await charge.void({ reasonCode: 'TEST', endReason: 'failed' });
      await stage.told();
      stage.clock.offsetMs += 60_000;
      const next = await admitted(reserve(money, limits, 100n));
      expect(next.counted[0]?.startMs).toBeGreaterThanOrEqual(NOON_MS + 60_000);
    });
  });

  it.each<[string, Partial<CallerLimits>, string]>([
    ['requests a day', { dailyQuota: 0 }, 'QUOTA_DAILY_EXCEEDED'],
    ['a key’s 5 hours', keyLimits({ usd5h: nanoUsd(99n) }), 'API_KEY_RATE_LIMIT_5H_EXCEEDED'],
    ['a user’s week', userLimits('week', 99n), 'USER_PLATFORM_WEEKLY_QUOTA_EXHAUSTED'],
  ])('names no reset to a call that no window has room for: %s', async (_, overrides, code) => {
    const refused = await reserve(money, await createTenant(money, PLENTY, overrides), 100n);
    expect(refused).toMatchObject({ refusal: { code, quota: { used: 0n } } });
    expect(refused.admitted ? undefined : refused.refusal.windowResetsAt).toBeUndefined();
  });

  it('admits exactly as many open holds as may be, and another one when one has ended', async () => {
    const limits = await createTenant(money, PLENTY, { concurrency: 2 });
    const charge = await openCharge(money, limits, 1n);
    await admitted(reserve(money, limits, 1n));
    expect(await reserve(money, limits, 1n)).toMatchObject({
      refusal: { code: 'CONCURRENCY_EXCEEDED', quota: { limit: 2n, used: 2n } },
    });
    await charge.durable();
    await charge.settle(outputOf(1));
    await stage.told();
    await admitted(reserve(money, limits, 1n));
  });

  it('pays by the free allowance first, then by the tenant’s own money', async () => {
    const limits = await createTenant(money, nanoUsd(10n), { allowances: new Map([['chat', 2]]) });
    const fundings = [];
    for (let call = 0; call < 3; call += 1) fundings.push((await admitted(reserve(money, limits, 10n))).funding);
    expect(fundings).toEqual(['allowance', 'allowance', 'wallet']);
    expect(await reserve(money, limits, 1n)).toMatchObject({ refusal: { code: 'QUOTA_BALANCE_EXCEEDED' } });
  });

  it('pays by subscription alone where the key is in one', async () => {
    const limits = await createTenant(money, ZERO_NANO_USD, subscription({ day: nanoUsd(100n) }));
    expect(await admitted(reserve(money, limits, 100n))).toMatchObject({ funding: 'subscription', balanceAfter: 0n });
    expect(await stage.available(limits)).toBe(0n);
    expect(await reserve(money, limits, 1n)).toMatchObject({ refusal: { code: 'DAILY_LIMIT_EXCEEDED' } });
    for (const invalid of ['none' as const, subscription({ isActive: false }).subscription]) {
      expect(await reserve(money, { ...limits, subscription: invalid }, 1n)).toMatchObject({
        refusal: { code: 'SUBSCRIPTION_INVALID' },
      });
    }
  });

  it('begins a day and a month anew when the clock reaches them, and never goes back', async () => {
    const limits = await createTenant(money, PLENTY, { dailyQuota: 1, monthlyQuota: 2 });
    await admitted(reserve(money, limits, 0n));
    expect(await reserve(money, limits, 0n)).toMatchObject({ refusal: { code: 'QUOTA_DAILY_EXCEEDED' } });
    stage.clock.offsetMs += DAY_MS;
    await admitted(reserve(money, limits, 0n));
    // The clock is set back: the day that has begun goes on.
    stage.clock.offsetMs -= DAY_MS;
    expect(await reserve(money, limits, 0n)).toMatchObject({
      refusal: { code: 'QUOTA_DAILY_EXCEEDED', windowResetsAt: new Date(Date.UTC(2027, 5, 18)) },
    });
    stage.clock.offsetMs += 2 * DAY_MS;
    expect(await reserve(money, limits, 0n)).toMatchObject({ refusal: { code: 'QUOTA_MONTHLY_EXCEEDED' } });
    stage.clock.offsetMs += 14 * DAY_MS;
    await admitted(reserve(money, limits, 0n));
  });

  it('counts requests of the window that were made before a quota was set', async () => {
    // Ids of calls carry the real time, by which calls are looked up.
    stage.clock.offsetMs = 0;
    const limits = await createTenant(money, PLENTY);
    for (let call = 0; call < 3; call += 1) {
      const charge = await openCharge(money, limits, 1n);
      await charge.durable();
      await (call === 0 ? charge.void({ reasonCode: 'TEST', endReason: 'failed' }) : charge.settle(outputOf(1)));
    }
    const stillOpen = await openCharge(money, limits, 1n);
    await stillOpen.durable();
    await stage.told();
    const limited = { ...limits, dailyQuota: 4, monthlyQuota: 5 };
    const hold = await admitted(reserve(money, limited, 0n));
    expect(hold.counted.map(({ counter, used }) => [counter, used])).toEqual([
      ['day', 4n],
      ['month', 4n],
    ]);
    expect(await reserve(money, limited, 0n)).toMatchObject({ refusal: { code: 'QUOTA_DAILY_EXCEEDED' } });
  });

  it('has room for exactly 10 of 40 calls at once, in every scope', async () => {
    for (const overrides of [
      { dailyQuota: 10 },
      { concurrency: 10 },
      keyLimits({ usd5h: nanoUsd(100n) }),
      { monthlyQuota: 10, ...keyLimits({ budget: nanoUsd(100n) }) },
    ]) {
      const limits = await createTenant(money, PLENTY, overrides);
      const outcomes = await Promise.all(Array.from({ length: 40 }, () => reserve(money, limits, 10n)));
      expect(outcomes.filter((outcome) => outcome.admitted)).toHaveLength(10);
    }
    const limits = await createTenant(money, nanoUsd(100n));
    const outcomes = await Promise.all(Array.from({ length: 40 }, () => reserve(money, limits, 10n)));
    expect(outcomes.filter((outcome) => outcome.admitted)).toHaveLength(10);
  });

  it('limits requests and tokens a minute', async () => {
    const rpm = await createTenant(money, PLENTY, { rpm: 2 });
    await admitted(reserve(money, rpm, 1n));
    const second = await openCharge(money, rpm, 1n);
    const refused = await reserve(money, rpm, 1n);
    expect(refused).toMatchObject({ refusal: { code: 'TENANT_RPM_EXCEEDED', quota: { limit: 2n, used: 2n } } });
    await second.durable();
    await second.void({ reasonCode: 'TEST', endReason: 'failed' });
    await stage.told();
    await admitted(reserve(money, rpm, 1n));
    stage.clock.offsetMs += 61_000;
    await admitted(reserve(money, rpm, 1n));

    const tpm = await createTenant(money, PLENTY, { tpm: 100 });
    const charge = await openCharge(money, tpm, 80n);
    expect(await reserve(money, tpm, 21n)).toMatchObject({
      refusal: { code: 'TENANT_TPM_EXCEEDED', quota: { limit: 100n, used: 80n } },
    });
    await charge.durable();
    await charge.settle(outputOf(10));
    await stage.told();
    await admitted(reserve(money, tpm, 90n));
  });

  it('quotes what a reservation would count, also in the limits of a minute, and counts nothing', async () => {
    const limits = await createTenant(money, PLENTY, { rpm: 5, tpm: 100, dailyQuota: 9 });
    await admitted(reserve(money, limits, 30n));
    const used = async (outcome: Promise<ReserveOutcome>): Promise<object> =>
      Object.fromEntries((await admitted(outcome)).counted.map((scope) => [scope.counter, scope.used]));
    const withTheCall = { day: 2n, rpm: 2n, tpm: 50n };
    expect(await used(money.store.quote(holdRequest(limits, 20n)))).toEqual(withTheCall);
    expect(await used(money.store.quote(holdRequest(limits, 20n)))).toEqual(withTheCall);
    expect(await used(reserve(money, limits, 20n))).toEqual(withTheCall);
    expect(await money.store.quote(holdRequest(limits, 51n))).toMatchObject({
      refusal: { code: 'TENANT_TPM_EXCEEDED', quota: { limit: 100n, used: 50n } },
    });
  });
});
