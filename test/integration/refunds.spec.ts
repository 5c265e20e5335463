import { LedgerService } from '../../src/billing/ledger/ledger.service';
import { Invariants } from '../../src/billing/invariants/invariants.service';
import { nanoUsd } from '../../src/kernel/money';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { createTenant, type MoneyProcess, openCharge, outputOf, startMoneyProcess } from '../support/money-harness';
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
