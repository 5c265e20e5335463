import { newId } from '../../src/kernel/ids';
import { nanoUsd, ZERO_NANO_USD } from '../../src/kernel/money';
import type { QuotaMode } from '../../src/quota/authority-row';
import type { ReserveOutcome } from '../../src/quota/quota-store.port';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { createTenant, holdRequest, type MoneyProcess, reserve } from '../support/money-harness';
import { admitted, keyLimits, NOON_MS, PLENTY, QuotaStage, subscription } from './postgres-quota-stage';

describe.each<QuotaMode>(['redis', 'postgres'])('limits a minute among the others while %s decides', (mode) => {
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

  const codeOf = (outcome: ReserveOutcome): string => (outcome.admitted ? 'admitted' : outcome.refusal.code);

  const userOf = (rpm: number): Partial<CallerLimits> => ({ user: { userId: newId(), rpm, platforms: new Map() } });

  it.each<[string, bigint, Partial<CallerLimits>, string]>([
    ['the balance', 10n, { rpm: 1 }, 'QUOTA_BALANCE_EXCEEDED'],
    ['the balance, also to a user', 10n, userOf(1), 'QUOTA_BALANCE_EXCEEDED'],
    ['requests a day', PLENTY, { rpm: 1, dailyQuota: 1 }, 'QUOTA_DAILY_EXCEEDED'],
    ['requests a month', PLENTY, { tpm: 10, monthlyQuota: 1 }, 'QUOTA_MONTHLY_EXCEEDED'],
    [
      'a key’s budget, to a user',
      PLENTY,
      { ...userOf(1), ...keyLimits({ budget: nanoUsd(10n) }) },
      'QUOTA_BUDGET_EXCEEDED',
    ],
  ])('are refused after %s', async (_, balance, overrides, code) => {
    const limits = await createTenant(money, nanoUsd(balance), overrides);
    await admitted(reserve(money, limits, 10n));
    expect(codeOf(await reserve(money, limits, 10n))).toBe(code);
    expect(codeOf(await money.store.quote(holdRequest(limits, 10n)))).toBe(code);
  });

  it.each<[string, Partial<CallerLimits>, string]>([
    ['open calls', { rpm: 1, concurrency: 1 }, 'TENANT_RPM_EXCEEDED'],
    ['a key’s budget', { tpm: 10, ...keyLimits({ budget: nanoUsd(10n) }) }, 'TENANT_TPM_EXCEEDED'],
    ['a user’s', { rpm: 1, ...userOf(1) }, 'TENANT_RPM_EXCEEDED'],
  ])('of the tenant are refused before %s', async (_, overrides, code) => {
    const limits = await createTenant(money, PLENTY, overrides);
    await admitted(reserve(money, limits, 10n));
    expect(codeOf(await reserve(money, limits, 10n))).toBe(code);
    expect(codeOf(await money.store.quote(holdRequest(limits, 10n)))).toBe(code);
  });

  it('are not asked where there is no subscription', async () => {
    const limits = await createTenant(money, ZERO_NANO_USD, { rpm: 0, ...subscription({ isActive: false }) });
    expect(codeOf(await reserve(money, limits, 1n))).toBe('SUBSCRIPTION_INVALID');
  });

  it('have no call that another limit refuses, also while it is being refused', async () => {
    const limits = await createTenant(money, nanoUsd(10n), { rpm: 2 });
    const outcomes = await Promise.all([11n, 5n, 5n].map((amount) => reserve(money, limits, amount)));
    expect(outcomes.map(codeOf)).toEqual(['QUOTA_BALANCE_EXCEEDED', 'admitted', 'admitted']);
  });

  it('keep a call that they refuse out of every other limit, also while it is being refused', async () => {
    const limits = await createTenant(money, nanoUsd(100n), { tpm: 50, dailyQuota: 2 });
    const outcomes = await Promise.all([60n, 20n, 30n].map((amount) => reserve(money, limits, amount)));
    expect(outcomes.map(codeOf)).toEqual(['TENANT_TPM_EXCEEDED', 'admitted', 'admitted']);
    expect(await stage.available({ ...limits, dailyQuota: null, tpm: null })).toBe(50n);
  });

  it('admit exactly what they have room for of many calls at once, and say when there is room again', async () => {
    const limits = await createTenant(money, PLENTY, { rpm: 10 });
    const outcomes = await Promise.all(Array.from({ length: 40 }, () => reserve(money, limits, 1n)));
    expect(outcomes.filter((outcome) => outcome.admitted)).toHaveLength(10);
    const used = outcomes.flatMap((outcome) =>
      outcome.admitted ? outcome.hold.counted.map((scope) => scope.used) : [],
    );
    expect(used).toEqual(Array.from({ length: 10 }, (_, call) => BigInt(call + 1)));
    const refused = await reserve(money, limits, 1n);
    expect(refused).toMatchObject({ refusal: { quota: { scope: 'tenant_rpm', limit: 10n, used: 10n } } });
    const resetsInMs = refused.admitted
      ? 0
      : (refused.refusal.windowResetsAt?.getTime() ?? 0) - stage.clock.offsetMs - Date.now();
    expect(resetsInMs).toBeGreaterThan(50_000);
    expect(resetsInMs).toBeLessThanOrEqual(60_000);
  });
});
