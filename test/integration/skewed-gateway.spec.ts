import { CLOCK, type Clock } from '../../src/kernel/clock';
import type { QuotaMode } from '../../src/quota/authority-row';
import { createTenant, type MoneyProcess, openCharge, reserve } from '../support/money-harness';
import { admitted, PLENTY, QuotaStage } from './postgres-quota-stage';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
/** The last one: the calls of a window are looked for by trace ids, which are of now. */
const MIDNIGHT_MS = Math.floor(Date.now() / DAY_MS) * DAY_MS;

describe.each<QuotaMode>(['redis', 'postgres'])('a gateway whose clock is wrong, while %s decides', (mode) => {
  let stage: QuotaStage;
  let money: MoneyProcess;

  beforeAll(async () => {
    stage = await QuotaStage.open(mode);
    ({ money } = stage);
  });

  afterAll(() => stage.close());

  afterEach(() => {
    jest.restoreAllMocks();
  });

  function at(instantMs: number, gatewayAheadMs: number): void {
    stage.clock.offsetMs = instantMs - Date.now();
    const clock = money.module.get<Clock>(CLOCK);
    jest.spyOn(clock, 'nowMs').mockImplementation(() => Date.now() + clock.offsetMs + gatewayAheadMs);
  }

  it.each([
    ['ahead, before midnight', MIDNIGHT_MS - 5 * MINUTE_MS, 10 * MINUTE_MS],
    ['behind, after midnight', MIDNIGHT_MS + 5 * MINUTE_MS, -10 * MINUTE_MS],
  ])('%s: a request quota finds the calls of the day it is', async (_where, instantMs, gatewayAheadMs) => {
    at(instantMs, gatewayAheadMs);
    const limits = await createTenant(money, PLENTY);
    for (let call = 0; call < 2; call += 1) await (await openCharge(money, limits, 1n)).durable();
    const hold = await admitted(reserve(money, { ...limits, dailyQuota: 3 }, 1n));
    const startMs = instantMs < MIDNIGHT_MS ? MIDNIGHT_MS - DAY_MS : MIDNIGHT_MS;
    expect(hold.counted).toMatchObject([{ counter: 'day', startMs, used: 3n }]);
    expect(await reserve(money, { ...limits, dailyQuota: 3 }, 1n)).toMatchObject({
      refusal: { code: 'QUOTA_DAILY_EXCEEDED' },
    });
  });
});
