import { newId } from '../../src/kernel/ids';
import { nanoUsd, ZERO_NANO_USD } from '../../src/kernel/money';
import type { QuotaMode } from '../../src/quota/authority-row';
import type { AdmittedHold } from '../../src/quota/quota-store.port';
import {
  createTenant,
  holdRequest,
  type MoneyProcess,
  ONE_NANO_A_TOKEN,
  openCharge,
  outputOf,
  reserve,
} from '../support/money-harness';
import { admitted, keyLimits, NOON_MS, PLENTY, QuotaStage } from './postgres-quota-stage';

describe.each<QuotaMode>(['redis', 'postgres'])('a hold while %s decides', (mode) => {
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

  it('refuses what the balance and the credit limit do not cover, to the nano-USD', async () => {
    const limits = await createTenant(money, nanoUsd(70n), { creditLimit: nanoUsd(30n) });
    expect(await reserve(money, limits, 101n)).toEqual({
      admitted: false,
      refusal: { code: 'QUOTA_BALANCE_EXCEEDED', values: { needed: '0.000000101', available: '0.000000100' } },
    });
    expect(await admitted(reserve(money, limits, 100n))).toMatchObject({
      balanceBefore: 100n,
      balanceAfter: 0n,
      funding: 'wallet',
      creditLimit: 30n,
    });
    expect(await reserve(money, limits, 1n)).toMatchObject({ refusal: { code: 'QUOTA_BALANCE_EXCEEDED' } });
    // A hold of nothing needs no cover.
    await admitted(reserve(money, limits, 0n));
  });

  it('makes the accounts of a tenant that has none, also for many calls at once', async () => {
    const fresh = { ...(await createTenant(money, ZERO_NANO_USD)), tenantId: newId() };
    await money.pool.query(`insert into tenant (id, name, timezone) values ($1, 'fresh', 'UTC')`, [fresh.tenantId]);
    const outcomes = await Promise.all(Array.from({ length: 8 }, () => reserve(money, fresh, 1n)));
    expect(outcomes.map((outcome) => !outcome.admitted && outcome.refusal.code)).toEqual(
      Array.from({ length: 8 }, () => 'QUOTA_BALANCE_EXCEEDED'),
    );
    const { rows } = await money.pool.query<{ name: string }>(
      `select name from ledger_account where tenant_id = $1 order by name`,
      [fresh.tenantId],
    );
    expect(rows.map(({ name }) => name)).toEqual(['overrun', 'wallet']);
  });

  it('counts a refused call nowhere', async () => {
    const limits = await createTenant(money, PLENTY, {
      dailyQuota: 5,
      monthlyQuota: 5,
      concurrency: 5,
      ...keyLimits({ budget: nanoUsd(50n), usd5h: nanoUsd(1_000n) }),
      allowances: new Map([['chat', 1]]),
    });
    for (let round = 0; round < 7; round += 1) {
      expect(await reserve(money, limits, 51n)).toMatchObject({ refusal: { code: 'QUOTA_BUDGET_EXCEEDED' } });
    }
    const hold = await admitted(reserve(money, limits, 50n));
    expect(
      Object.fromEntries(hold.counted.map(({ counter, used }) => [counter.replace(/^key:[^:]+/, 'key'), used])),
    ).toEqual({
      day: 1n,
      month: 1n,
      'key:budget': 50n,
      'key:5h': 50n,
      'free:chat': 1n,
    });
    expect(hold.funding).toBe('allowance');
  });

  it('quotes what it would answer, and changes nothing', async () => {
    const limits = await createTenant(money, PLENTY, { dailyQuota: 1, ...keyLimits({ usd5h: nanoUsd(10n) }) });
    for (let round = 0; round < 3; round += 1) {
      expect(await money.store.quote(holdRequest(limits, 10n))).toMatchObject({ admitted: true });
      expect(await money.store.quote(holdRequest(limits, 11n))).toMatchObject({
        refusal: { code: 'API_KEY_RATE_LIMIT_5H_EXCEEDED' },
      });
    }
    expect(await stage.available(limits)).toBe(PLENTY);
    await admitted(reserve(money, limits, 10n));
  });

  it('answers a resend of a hold as it did the first time, and holds once', async () => {
    const limits = await createTenant(money, PLENTY, { dailyQuota: 1, ...keyLimits({ usd5h: nanoUsd(10n) }) });
    const request = holdRequest(limits, 10n);
    // The use right after its admission is history once other calls have been counted.
    const known = ({ counted, dayWindow, monthWindow, ...hold }: AdmittedHold): object => ({
      ...hold,
      counted: counted.map(({ counter, measure, startMs, endMs }) => [counter, measure, startMs, endMs]),
      windows: [dayWindow, monthWindow].map(({ startMs, endMs }) => [startMs, endMs]),
    });
    const first = await admitted(money.store.reserve(request));
    const again = await Promise.all([1, 2, 3].map(() => admitted(money.store.reserve(request))));
    expect(again.map(known)).toEqual([known(first), known(first), known(first)]);
    expect(await stage.available({ ...limits, dailyQuota: null })).toBe(PLENTY - 10n);
  });

  it('gives back everything that a voided charge counted', async () => {
    const limits = await createTenant(money, nanoUsd(10n), {
      dailyQuota: 1,
      monthlyQuota: 1,
      concurrency: 1,
      ...keyLimits({ budget: nanoUsd(10n), usd7d: nanoUsd(10n) }),
    });
    for (let round = 0; round < 3; round += 1) {
      const charge = await openCharge(money, limits, 10n);
      await charge.durable();
      await charge.void({ reasonCode: 'TEST', endReason: 'failed' });
      await stage.told();
    }
    await admitted(reserve(money, limits, 10n));
  });

  it('corrects a settled charge to what it cost, in its own windows', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n), {
      dailyQuota: 3,
      ...keyLimits({ budget: nanoUsd(500n), usd1d: nanoUsd(500n) }),
    });
    const charge = await openCharge(money, limits, 400n);
    await charge.durable();
    await charge.settle(outputOf(100));
    await stage.told();
    const hold = await admitted(reserve(money, limits, 400n));
    expect(hold.balanceBefore).toBe(900n);
    expect(hold.counted.map(({ used }) => used)).toEqual([2n, 500n, 500n]);
  });

  it('lets a stream outgrow its hold as far as balance and limits go, and no further', async () => {
    const limits = await createTenant(money, nanoUsd(500n), keyLimits({ budget: nanoUsd(300n) }));
    const charge = await openCharge(money, limits, 100n);
    await charge.durable();
    const extend = (amount: bigint): Promise<unknown> =>
      money.store.extend({
        holdId: charge.held.holdId,
        limits,
        epoch: charge.held.epoch,
        amount: nanoUsd(amount),
        service: 'chat',
        platform: 'openai',
      });
    expect(await extend(250n)).toEqual({ extended: true });
    expect(await extend(250n)).toEqual({ extended: true });
    expect(await extend(90n)).toEqual({ extended: true });
    expect(await extend(301n)).toMatchObject({
      extended: false,
      refusal: { code: 'QUOTA_BUDGET_EXCEEDED', quota: { scope: 'key_budget', limit: 300n, used: 250n } },
    });
    expect(await extend(501n)).toMatchObject({ extended: false, refusal: { code: 'QUOTA_BALANCE_EXCEEDED' } });
    expect(await stage.available(limits)).toBe(250n);
    await charge.settle(outputOf(10));
    await stage.told();
    expect(await extend(260n)).toEqual({ extended: false, refusal: 'gone' });
    expect(await stage.available(limits)).toBe(490n);
  });

  it('writes what is frozen of a hold into its row, the same whoever decided', async () => {
    const limits = await createTenant(money, nanoUsd(100n), {
      dailyQuota: 5,
      creditLimit: nanoUsd(7n),
      ...keyLimits({ usd5h: nanoUsd(50n) }),
    });
    const request = holdRequest(limits, 40n);
    const hold = await admitted(money.store.reserve(request));
    expect(hold.isDurable).toBe(mode === 'postgres');
    const charge = money.charges.begin(hold, request, ONE_NANO_A_TOKEN);
    if ('code' in charge) throw new Error(charge.code);
    expect(await charge.durable()).toBeUndefined();
    const { rows } = await money.pool.query<object>(
      `select status, hold_nano_usd, credit_limit_nano_usd, balance_before_nano_usd, balance_after_nano_usd, funding, model,
              day_window_start, month_window_start, scopes, api_key_name
         from billing_transaction where id = $1`,
      [hold.holdId],
    );
    const [first, key] = hold.counted;
    expect(rows).toEqual([
      {
        status: 'PENDING',
        hold_nano_usd: '40',
        credit_limit_nano_usd: '7',
        balance_before_nano_usd: '107',
        balance_after_nano_usd: '67',
        funding: 'wallet',
        model: 'test-model',
        api_key_name: 'test key',
        day_window_start: new Date(Date.UTC(2027, 5, 16)),
        month_window_start: new Date(Date.UTC(2027, 5, 1)),
        scopes: [
          ['day', 'r', first?.startMs, first?.endMs],
          [key?.counter, 'u', key?.startMs, key?.endMs],
        ],
      },
    ]);
    expect(hold.dayWindow).toMatchObject({ startMs: Date.UTC(2027, 5, 16), endMs: Date.UTC(2027, 5, 17) });
  });
});
