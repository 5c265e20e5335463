import { nanoUsd } from '../../src/kernel/money';
import type { QuotaMode } from '../../src/quota/authority-row';
import { createTenant, type MoneyProcess, openCharge, outputOf, reserve } from '../support/money-harness';
import { admitted, keyLimits, NOON_MS, PLENTY, QuotaStage, subscription, userLimits } from './postgres-quota-stage';

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Nine hours before UTC, all year: its 16th of June 2027 ends at 15:00 UTC. */
const TOKYO = 'Asia/Tokyo';
const TOKYO_MIDNIGHT_MS = Date.UTC(2027, 5, 16, 15);
const FAILED = { reasonCode: 'TEST', endReason: 'failed' } as const;

describe.each<QuotaMode>(['redis', 'postgres'])('a window while %s decides', (mode) => {
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

  it('gets nothing back from a charge of the day before that fails after midnight', async () => {
    const limits = await createTenant(money, PLENTY, { dailyQuota: 2 });
    const yesterday = await openCharge(money, limits, 10n);
    await yesterday.durable();
    stage.clock.offsetMs += DAY_MS;
    await admitted(reserve(money, limits, 10n));
    await yesterday.void(FAILED);
    await stage.told();
    expect((await admitted(reserve(money, limits, 10n))).counted).toMatchObject([{ counter: 'day', used: 2n }]);
    expect(await reserve(money, limits, 10n)).toMatchObject({ refusal: { code: 'QUOTA_DAILY_EXCEEDED' } });
  });

  it('is not corrected by a charge of the window before that settles late, for less than it held', async () => {
    const limits = await createTenant(money, PLENTY, keyLimits({ usd5h: nanoUsd(100n) }));
    const before = await openCharge(money, limits, 100n);
    await before.durable();
    stage.clock.offsetMs += 5 * HOUR_MS + 1_000;
    await admitted(reserve(money, limits, 60n));
    await before.settle(outputOf(50));
    await stage.told();
    expect((await admitted(reserve(money, limits, 40n))).counted).toMatchObject([{ used: 100n }]);
    expect(await reserve(money, limits, 1n)).toMatchObject({ refusal: { code: 'API_KEY_RATE_LIMIT_5H_EXCEEDED' } });
  });

  it('has of a settled charge what it cost, not what it held', async () => {
    const limits = await createTenant(money, PLENTY, keyLimits({ budget: nanoUsd(1_000n), usd5h: nanoUsd(1_000n) }));
    const charge = await openCharge(money, limits, 400n);
    await charge.durable();
    await charge.settle(outputOf(100));
    await stage.told();
    expect((await admitted(reserve(money, limits, 10n))).counted).toMatchObject([{ used: 110n }, { used: 110n }]);
  });

  it('that began with a first use ends when that use said, however often it is used', async () => {
    const limits = await createTenant(money, PLENTY, keyLimits({ usd5h: nanoUsd(100n) }));
    const first = await admitted(reserve(money, limits, 10n));
    const endMs = first.counted[0]?.endMs ?? 0;
    for (let call = 0; call < 4; call += 1) {
      stage.clock.offsetMs += HOUR_MS;
      expect((await admitted(reserve(money, limits, 10n))).counted).toMatchObject([{ endMs }]);
    }
    stage.clock.offsetMs += HOUR_MS + 1_000;
    const [next] = (await admitted(reserve(money, limits, 100n))).counted;
    expect(next?.startMs).toBeGreaterThanOrEqual(endMs);
  });

  it('of a first use is followed by none that begins before it, where the clock was set back', async () => {
    const limits = await createTenant(money, PLENTY, keyLimits({ usd5h: nanoUsd(100n) }));
    const free = await openCharge(money, limits, 10n);
    await free.settle(outputOf(0));
    await stage.told();
    stage.clock.offsetMs -= 5_000;
    const paid = await openCharge(money, limits, 10n);
    await paid.settle(outputOf(10));
    const { rows } = await money.pool.query(`select used from quota_counter where tenant_id = $1`, [limits.tenantId]);
    expect(rows).toEqual([{ used: '10' }]);
  });

  it('of a minute is over within a minute, also where the clock was set back by more', async () => {
    const limits = await createTenant(money, PLENTY, { rpm: 2 });
    const charges = [await openCharge(money, limits, 10n), await openCharge(money, limits, 10n)];
    expect(await reserve(money, limits, 10n)).toMatchObject({ refusal: { code: 'TENANT_RPM_EXCEEDED' } });
    stage.clock.offsetMs -= 10 * MINUTE_MS;
    stage.clock.offsetMs += MINUTE_MS;
    expect((await admitted(reserve(money, limits, 10n))).counted).toMatchObject([{ counter: 'rpm', used: 1n }]);
    // What is given back of the time that was set back is no room for more.
    for (const charge of charges) await charge.void(FAILED);
    await stage.told();
    expect((await admitted(reserve(money, limits, 10n))).counted).toMatchObject([{ counter: 'rpm', used: 2n }]);
    expect(await reserve(money, limits, 10n)).toMatchObject({ refusal: { code: 'TENANT_RPM_EXCEEDED' } });
  });

  it('of the tenant ends at midnight where the tenant is', async () => {
    const limits = await createTenant(money, PLENTY, { timezone: TOKYO, dailyQuota: 1 });
    const hold = await admitted(reserve(money, limits, 10n));
    expect(hold.dayWindow).toMatchObject({ startMs: TOKYO_MIDNIGHT_MS - DAY_MS, endMs: TOKYO_MIDNIGHT_MS });
    expect(await reserve(money, limits, 10n)).toMatchObject({
      refusal: { code: 'QUOTA_DAILY_EXCEEDED', windowResetsAt: new Date(TOKYO_MIDNIGHT_MS) },
    });
    stage.clock.offsetMs += 3 * HOUR_MS + 1_000;
    await admitted(reserve(money, limits, 10n));
  });

  it('of a subscription ends at midnight where the tenant is', async () => {
    const overrides = { timezone: TOKYO, ...subscription({ day: nanoUsd(10n) }) };
    const limits = await createTenant(money, PLENTY, overrides);
    await admitted(reserve(money, limits, 10n));
    expect(await reserve(money, limits, 1n)).toMatchObject({
      refusal: { code: 'DAILY_LIMIT_EXCEEDED', windowResetsAt: new Date(TOKYO_MIDNIGHT_MS) },
    });
  });

  it('of a user ends at midnight of the zone that is the same for all tenants', async () => {
    const overrides = { timezone: TOKYO, ...userLimits('day', 10n) };
    const limits = await createTenant(money, PLENTY, overrides);
    await admitted(reserve(money, limits, 10n));
    expect(await reserve(money, limits, 1n)).toMatchObject({
      refusal: { code: 'USER_PLATFORM_DAILY_QUOTA_EXHAUSTED', windowResetsAt: new Date(Date.UTC(2027, 5, 17)) },
    });
  });
});
