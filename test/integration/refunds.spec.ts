import { Logger } from '@nestjs/common';
import { Invariants } from '../../src/billing/invariants/invariants.service';
import { MAX_PROMO_NANO_USD } from '../../src/billing/ledger/booking';
import { LedgerService } from '../../src/billing/ledger/ledger.service';
import { LateEndings } from '../../src/billing/settlement/late-endings';
import type { OpenCharge } from '../../src/billing/settlement/open-charge';
import { type EndFields, SWEPT_END_REASON } from '../../src/billing/writer/charge-rows';
import { ChargeWriter } from '../../src/billing/writer/charge-writer';
import { MAX_TENANT_NANO_USD, nanoUsd } from '../../src/kernel/money';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { settledAt, VOIDED } from '../support/charge-writer-harness';
import {
  adjust,
  createTenant,
  type MoneyProcess,
  openCharge,
  outputOf,
  startMoneyProcess,
} from '../support/money-harness';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { startTestRedis, type TestRedis } from '../support/test-redis';

describe('a refund of a charge', () => {
  let database: TestDatabase;
  let redis: TestRedis;
  let money: MoneyProcess;
  let ledger: LedgerService;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
    money = await startMoneyProcess({ databaseUrl: database.url, redisUrl: redis.url });
    ledger = money.module.get(LedgerService);
  });

  afterAll(async () => {
    await money.close();
    await redis.stop();
    await database.drop();
  });

  async function charged(limits: CallerLimits, hold: bigint, tokens: number): Promise<string> {
    const charge = await openCharge(money, limits, hold);
    await charge.settle(outputOf(tokens));
    return charge.held.holdId;
  }

  function refundOf(limits: CallerLimits, chargeId: string): Parameters<LedgerService['refund']>[0] {
    return { tenantId: limits.tenantId, chargeId, reasonCode: 'TEST_REFUND', description: 'test' };
  }

  async function balances(limits: CallerLimits): Promise<Record<string, string>> {
    const { rows } = await money.pool.query<{ name: string; posted_nano_usd: string }>(
      `select name, posted_nano_usd from ledger_account where tenant_id = $1`,
      [limits.tenantId],
    );
    return Object.fromEntries(rows.map((row) => [row.name, row.posted_nano_usd]));
  }

  /** What a refund moved, and to whom. */
  async function given(chargeId: string): Promise<readonly object[]> {
    const { rows } = await money.pool.query<object>(
      `select t.kind, a.name as account, t.amount_nano_usd as amount, t.reason_code
         from billing_transaction b
         join ledger_transfer t on t.transaction_id = b.reversed_by
         join ledger_account a on a.id = t.credit_account_id
        where b.id = $1 order by t.id`,
      [chargeId],
    );
    return rows;
  }

  async function expectProof(): Promise<void> {
    const proof = await money.module.get(Invariants).check();
    expect(proof.filter(({ violations }) => violations > 0)).toEqual([]);
  }

  it('gives the whole amount back once, however often and however many at once ask', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    const chargeId = await charged(limits, 300n, 120);
    const refunds = await Promise.all(Array.from({ length: 8 }, () => ledger.refund(refundOf(limits, chargeId))));
    expect(refunds.filter(({ isRepeat }) => !isRepeat)).toHaveLength(1);
    expect(new Set(refunds.map(({ transactionId }) => transactionId)).size).toBe(1);
    expect(await balances(limits)).toEqual({ wallet: '1000', overrun: '0' });
    await expectProof();
  });

  it('repays overrun before the wallet keeps anything', async () => {
    const limits = await createTenant(money, nanoUsd(100n));
    const chargeId = await charged(limits, 100n, 250);
    expect(await balances(limits)).toEqual({ wallet: '0', overrun: '-150' });
    await ledger.refund(refundOf(limits, chargeId));
    expect(await balances(limits)).toEqual({ wallet: '100', overrun: '0' });
    await expectProof();
  });

  it('gives back exactly what promo, wallet and overrun paid together', async () => {
    const limits = await createTenant(money, nanoUsd(100n));
    await adjust(money, limits.tenantId, nanoUsd(50n), 'promo');
    const chargeId = await charged(limits, 150n, 250);
    expect(await balances(limits)).toEqual({ promo: '0', wallet: '0', overrun: '-100' });
    await ledger.refund(refundOf(limits, chargeId));
    expect(await balances(limits)).toEqual({ promo: '50', wallet: '100', overrun: '0' });
    expect(await given(chargeId)).toEqual([
      { kind: 'refund', account: 'promo', amount: '50', reason_code: 'TEST_REFUND' },
      { kind: 'refund', account: 'wallet', amount: '200', reason_code: 'TEST_REFUND' },
      { kind: 'overrun_repayment', account: 'overrun', amount: '100', reason_code: 'TEST_REFUND' },
    ]);
    await expectProof();
  });

  it.each([
    ['has room for a part', 30n, '90'],
    ['is full', 0n, '120'],
  ])('goes to the wallet as far as promo, filled up meanwhile, does not take it: promo %s', async (_, room, rest) => {
    const limits = await createTenant(money, nanoUsd(0n));
    await adjust(money, limits.tenantId, nanoUsd(1_000n), 'promo');
    const chargeId = await charged(limits, 300n, 120);
    await adjust(money, limits.tenantId, nanoUsd(MAX_PROMO_NANO_USD - 880n - room), 'promo');
    expect(await ledger.refund(refundOf(limits, chargeId))).toMatchObject({ isRepeat: false });
    expect(await balances(limits)).toEqual({ promo: MAX_PROMO_NANO_USD.toString(), wallet: rest, overrun: '0' });
    expect(await given(chargeId)).toContainEqual({
      ...{ kind: 'refund', account: 'wallet', amount: rest, reason_code: 'TEST_REFUND' },
    });
    await expectProof();
  });

  it('is refused with its reason where no account has room, and is possible once one has', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    const chargeId = await charged(limits, 300n, 120);
    await adjust(money, limits.tenantId, nanoUsd(MAX_TENANT_NANO_USD - 880n));
    await expect(ledger.refund(refundOf(limits, chargeId))).rejects.toMatchObject({
      refusal: { code: 'CONFLICT', values: { reason: expect.stringContaining('9,000,000 USD') as unknown } },
    });
    await adjust(money, limits.tenantId, nanoUsd(-120n));
    expect(await ledger.refund(refundOf(limits, chargeId))).toMatchObject({ isRepeat: false });
    await expectProof();
  });

  it('that is due by itself and finds no room is logged as an error that names the charge', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    const chargeId = await charged(limits, 300n, 120);
    await adjust(money, limits.tenantId, nanoUsd(MAX_TENANT_NANO_USD - 880n));
    const logged = jest.spyOn(Logger.prototype, 'error');
    await money.module.get(LateEndings).refundUnanswered(limits.tenantId, chargeId);
    expect(logged.mock.calls).toEqual([[expect.stringMatching(`${chargeId}.*still to be refunded.*9,000,000 USD`)]]);
    logged.mockRestore();
  });

  /** A charge that the sweeper ended, for its process was taken for dead; then the process wakes up and settles it. */
  async function wakesUp(limits: CallerLimits, swept: EndFields, tokens: number): Promise<OpenCharge> {
    const charge = await openCharge(money, limits, 300n);
    await charge.durable();
    const { tenantId, holdId, creditLimit } = charge.held;
    const head = { id: holdId, tenant_id: tenantId, credit_limit_nano_usd: creditLimit.toString(), is_new: false };
    await money.module.get(ChargeWriter).write({ ...head, ...swept, end_reason: SWEPT_END_REASON });
    await charge.settle(outputOf(tokens));
    return charge;
  }

  async function corrected(limits: CallerLimits): Promise<string> {
    const { rows } = await money.pool.query<{ id: string }>(
      `select id from billing_transaction where tenant_id = $1 and type = 'correction'`,
      [limits.tenantId],
    );
    expect(rows).toHaveLength(1);
    return rows[0]?.id ?? '';
  }

  it('of a charge that was corrected gives the correction back, and the charge not twice', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    const charge = await wakesUp(limits, settledAt(120), 150);
    expect(await balances(limits)).toEqual({ wallet: '850', overrun: '0' });
    expect(await ledger.refund(refundOf(limits, charge.held.holdId))).toMatchObject({ isRepeat: true });
    expect(await balances(limits)).toEqual({ wallet: '850', overrun: '0' });
    const refund = refundOf(limits, await corrected(limits));
    expect(await ledger.refund(refund)).toMatchObject({ isRepeat: false, posted: 1_000n });
    expect(await ledger.refund(refund)).toMatchObject({ isRepeat: true, posted: 1_000n });
    await expectProof();
  });

  it('of a late settle gives its correction back, for the charge itself is voided', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    const charge = await wakesUp(limits, VOIDED, 150);
    await expect(ledger.refund(refundOf(limits, charge.held.holdId))).rejects.toMatchObject({
      refusal: { code: 'CONFLICT' },
    });
    const refund = refundOf(limits, await corrected(limits));
    expect(await ledger.refund(refund)).toMatchObject({ isRepeat: false, posted: 1_000n });
    await expectProof();
  });

  it('links both rows and leaves the amount of the charge as it was', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    const chargeId = await charged(limits, 300n, 7);
    const { transactionId } = await ledger.refund(refundOf(limits, chargeId));
    const { rows } = await money.pool.query<object>(
      `select status, amount_nano_usd, refunded_nano_usd, reversed_by from billing_transaction where id = $1`,
      [chargeId],
    );
    expect(rows).toEqual([
      { status: 'COMMITTED', amount_nano_usd: '7', refunded_nano_usd: '7', reversed_by: transactionId },
    ]);
  });

  it('is refused for a charge that is open, voided or another tenant’s', async () => {
    const [limits, stranger] = await Promise.all([
      createTenant(money, nanoUsd(1_000n)),
      createTenant(money, nanoUsd(1_000n)),
    ]);
    const open = await openCharge(money, limits, 300n);
    await open.durable();
    const refund = refundOf(limits, open.held.holdId);
    await expect(ledger.refund(refund)).rejects.toMatchObject({ refusal: { code: 'CONFLICT' } });
    await open.void({ reasonCode: 'TEST', endReason: 'failed' });
    await expect(ledger.refund(refund)).rejects.toMatchObject({ refusal: { code: 'CONFLICT' } });
    const chargeId = await charged(limits, 300n, 7);
    await expect(ledger.refund(refundOf(stranger, chargeId))).rejects.toMatchObject({ refusal: { code: 'NOT_FOUND' } });
    expect(await balances(stranger)).toEqual({ wallet: '1000', overrun: '0' });
    await expectProof();
  });
});
