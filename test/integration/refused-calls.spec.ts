import { nanoUsd, ZERO_NANO_USD } from '../../src/kernel/money';
import type { QuotaMode } from '../../src/quota/authority-row';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { newId } from '../../src/kernel/ids';
import { createTenant, type MoneyProcess, reserve } from '../support/money-harness';
import { admitted, keyLimits, NOON_MS, PLENTY, QuotaStage, subscription, userLimits } from './postgres-quota-stage';

/** What a call of this much is refused by, and a smaller one is not. */
const TOO_MUCH = 100n;
/** Requests a minute of every kind; more calls than that are refused by something else. */
const RPM = 3;

describe.each<QuotaMode>(['redis', 'postgres'])('a call that is refused while %s decides', (mode) => {
  let stage: QuotaStage;
  let money: MoneyProcess;

  beforeAll(async () => {
    stage = await QuotaStage.open(mode);
    ({ money } = stage);
    stage.clock.offsetMs = NOON_MS - Date.now();
  });

  afterAll(() => stage.close());

  const rates = (): Partial<CallerLimits> => ({
    rpm: RPM,
    tpm: 1_000,
    group: { groupId: newId(), rpm: RPM },
    user: { userId: newId(), rpm: RPM, platforms: new Map() },
  });

  it.each<[string, string, bigint, () => Partial<CallerLimits>]>([
    ['the balance', 'QUOTA_BALANCE_EXCEEDED', 50n, rates],
    ['a key’s budget', 'QUOTA_BUDGET_EXCEEDED', PLENTY, () => ({ ...rates(), ...keyLimits({ budget: nanoUsd(50n) }) })],
    [
      'a key’s 5 hours',
      'API_KEY_RATE_LIMIT_5H_EXCEEDED',
      PLENTY,
      () => ({ ...rates(), ...keyLimits({ usd5h: nanoUsd(50n) }) }),
    ],
    ['a user’s day', 'USER_PLATFORM_DAILY_QUOTA_EXHAUSTED', PLENTY, () => ({ ...rates(), ...userLimits('day', 50n) })],
    [
      'a subscription’s week',
      'WEEKLY_LIMIT_EXCEEDED',
      ZERO_NANO_USD,
      () => ({ ...rates(), ...subscription({ week: nanoUsd(50n) }) }),
    ],
  ])('by %s uses up no request and no token of any minute', async (_, code, balance, overrides) => {
    const limits = await createTenant(money, nanoUsd(balance), overrides());
    for (let call = 0; call < 2 * RPM; call += 1) {
      expect(await reserve(money, limits, TOO_MUCH)).toMatchObject({ refusal: { code } });
    }
    for (let call = 1; call <= RPM; call += 1) {
      const { counted } = await admitted(reserve(money, limits, 1n));
      const rolling = counted.filter(({ isRolling }) => isRolling);
      expect(new Set(rolling.map(({ used }) => used))).toEqual(new Set([BigInt(call)]));
    }
    expect(await reserve(money, limits, 1n)).toMatchObject({ refusal: { code: 'TENANT_RPM_EXCEEDED' } });
  });
});
