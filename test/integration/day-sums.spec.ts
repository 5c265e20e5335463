import { randomUUID } from 'node:crypto';
import { HOUSE_ACCOUNT } from '../../src/billing/ledger/house-accounts';
import { bookNextLines } from '../../src/billing/re-rating/re-rating-booking';
import { planReRating } from '../../src/billing/re-rating/re-rating-plan';
import { SWEPT_END_REASON } from '../../src/billing/writer/charge-rows';
import { ChargeWriter } from '../../src/billing/writer/charge-writer';
import { nanoUsd } from '../../src/kernel/money';
import { withTransaction } from '../../src/platform/database/with-transaction';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { settledAt } from '../support/charge-writer-harness';
import { committedCharge } from '../support/committed-charge';
import {
  adjust,
  createTenant,
  type MoneyProcess,
  ONE_NANO_A_TOKEN,
  openCharge,
  outputOf,
  startMoneyProcess,
} from '../support/money-harness';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { startTestRedis, type TestRedis } from '../support/test-redis';

/**
 * What an accountant adds up of a day, and what the ledger moved on it. Days of a test are as long as it says: each ends
 * before the next begins, at an instant of the database's clock at which nothing is under way.
 */
describe('the sum of a day', () => {
  let database: TestDatabase;
  let redis: TestRedis;
  let money: MoneyProcess;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
    money = await startMoneyProcess({ databaseUrl: database.url, redisUrl: redis.url });
  });

  afterAll(async () => {
    await money.close();
    await redis.stop();
    await database.drop();
  });

  async function instant(): Promise<string> {
    const { rows } = await money.pool.query<{ now: string }>(`select clock_timestamp()::text as now`);
    return rows[0]?.now ?? '';
  }

  const charge = (tenantId: string, output: number, row: object = {}): Promise<string> =>
    committedCharge(money.module, tenantId, { tokens: { output }, row });

  async function refund(tenantId: string, chargeId: string, amount?: bigint): Promise<void> {
    const asked = { tenantId, chargeId, reasonCode: 'TEST', description: 'test', idempotencyKey: randomUUID() };
    await money.ledger.refund({ ...asked, amount: amount === undefined ? undefined : nanoUsd(amount) });
  }

  /** At `perMillion` nano-USD a million output tokens instead; what was too cheap is debited, too. */
  async function reRate(model: string, perMillion: bigint): Promise<void> {
    const price = {
      ...ONE_NANO_A_TOKEN,
      perMillionTokens: { ...ONE_NANO_A_TOKEN.perMillionTokens, output: perMillion },
    };
    const range = { from: new Date(0), to: new Date('2100-01-01'), tenantId: undefined };
    const question = { model, ...range, price, priceVersion: '1', chargesDifferences: true, actor: 'test' };
    const plan = await withTransaction(money.pool, (client) => planReRating(client, question));
    while (await withTransaction(money.pool, (client) => bookNextLines(client, plan)));
  }

  /** The sweeper charged 120 for it; then its process wakes up and settles it at 150. */
  async function correctedLate(limits: CallerLimits): Promise<void> {
    const open = await openCharge(money, limits, 300n);
    await open.durable();
    const { tenantId, holdId, creditLimit } = open.held;
    const head = { id: holdId, tenant_id: tenantId, credit_limit_nano_usd: creditLimit.toString(), is_new: false };
    await money.module.get(ChargeWriter).write({ ...head, ...settledAt(120), end_reason: SWEPT_END_REASON });
    await open.settle(outputOf(150));
  }

  /** Charges and corrections, less refunds and credit notes, and what re-ratings debited. */
  async function booked(from: string, to: string): Promise<bigint> {
    const { rows } = await money.pool.query<{ sum: string }>(
      `select coalesce(sum(case when type in ('charge', 'correction') then amount_nano_usd
                                when type in ('refund', 'credit_note') then -amount_nano_usd
                                when type = 'adjustment' and reason_code = 'RE_RATED' then -amount_nano_usd else 0 end), 0) as sum
         from billing_transaction where status = 'COMMITTED' and ended_at >= $1 and ended_at < $2`,
      [from, to],
    );
    return BigInt(rows[0]?.sum ?? 0);
  }

  async function moved(from: string, to: string): Promise<bigint> {
    const { rows } = await money.pool.query<{ sum: string }>(
      `select coalesce(sum(case when credit_account_id = $3 then amount_nano_usd else -amount_nano_usd end), 0) as sum
         from ledger_transfer where $3 in (credit_account_id, debit_account_id) and created_at >= $1 and created_at < $2`,
      [from, to, HOUSE_ACCOUNT.revenue],
    );
    return BigInt(rows[0]?.sum ?? 0);
  }

  it('of charges, refunds, credit notes and corrections is what revenue was moved by, each day', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    const { tenantId } = limits;
    const other = await createTenant(money, nanoUsd(50n));
    await adjust(money, tenantId, nanoUsd(70n), 'promo');
    const days = [await instant()];

    const mixed = await charge(tenantId, 200, { model: 'dear' });
    const overrun = await charge(other.tenantId, 90);
    await charge(tenantId, 30, { funding: 'subscription', model: 'dear' });
    await charge(tenantId, 0);
    const voided = await openCharge(money, limits, 10n);
    await voided.void({ reasonCode: 'TEST', endReason: 'failed' });
    await refund(tenantId, mixed, 15n);
    days.push(await instant());

    await refund(other.tenantId, overrun);
    await reRate('dear', 500_000n);
    await correctedLate(limits);
    // Money in and out of the wallet is no revenue.
    await adjust(money, tenantId, nanoUsd(-5n));
    days.push(await instant());

    await reRate('dear', 800_000n);
    days.push(await instant());

    const sums: bigint[] = [];
    for (const [at, from] of days.slice(0, -1).entries()) {
      const to = days[at + 1] ?? '';
      const sum = await booked(from, to);
      expect(await moved(from, to)).toBe(sum);
      sums.push(sum);
    }
    // 200 + 90 + 30 − 15; then −90, half of 200 and of 30 back, and 150 charged; then 0.3 × 200 more: the house granted 30.
    expect(sums).toEqual([305n, -90n - 100n - 15n + 150n, 60n]);
    expect(await moved(days[0] ?? '', days.at(-1) ?? '')).toBe(sums.reduce((a, b) => a + b, 0n));
  });
});
