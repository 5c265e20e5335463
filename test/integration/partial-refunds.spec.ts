import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { Invariants } from '../../src/billing/invariants/invariants.service';
import { MAX_PROMO_NANO_USD } from '../../src/billing/ledger/booking';
import type { RefundPosting } from '../../src/billing/ledger/refund';
import { nanoUsd } from '../../src/kernel/money';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
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
import { keyLimits, subscription } from './postgres-quota-stage';

describe('a charge that is given back in parts', () => {
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

  async function charged(limits: CallerLimits, hold: bigint, tokens: number): Promise<string> {
    const charge = await openCharge(money, limits, hold);
    await charge.settle(outputOf(tokens));
    return charge.held.holdId;
  }

  function refund({ tenantId }: CallerLimits, chargeId: string, amount?: bigint): Promise<RefundPosting> {
    return money.ledger.refund({
      tenantId,
      chargeId,
      reasonCode: 'TEST_REFUND',
      description: 'test',
      amount: amount === undefined ? undefined : nanoUsd(amount),
      idempotencyKey: randomUUID(),
    });
  }

  async function balances({ tenantId }: CallerLimits): Promise<Record<string, string>> {
    const { rows } = await money.pool.query<{ name: string; posted_nano_usd: string }>(
      `select name, posted_nano_usd from ledger_account where tenant_id = $1`,
      [tenantId],
    );
    return Object.fromEntries(rows.map((row) => [row.name, row.posted_nano_usd]));
  }

  async function expectProof(): Promise<void> {
    const proof = await money.module.get(Invariants).check();
    expect(proof.filter(({ verdict }) => verdict !== 'holds')).toEqual([]);
  }

  it('goes back to overrun, then to the wallet, then to promo, to each what it gave', async () => {
    const limits = await createTenant(money, nanoUsd(100n));
    await adjust(money, limits.tenantId, nanoUsd(50n), 'promo');
    const id = await charged(limits, 150n, 250);
    expect(await balances(limits)).toEqual({ promo: '0', wallet: '0', overrun: '-100' });
    await refund(limits, id, 60n);
    expect(await balances(limits)).toEqual({ promo: '0', wallet: '0', overrun: '-40' });
    await refund(limits, id, 70n);
    expect(await balances(limits)).toEqual({ promo: '0', wallet: '30', overrun: '0' });
    await refund(limits, id, 80n);
    expect(await balances(limits)).toEqual({ promo: '10', wallet: '100', overrun: '0' });
    expect(await refund(limits, id)).toMatchObject({ amount: 40n, givenBack: 250n, posted: 150n });
    expect(await balances(limits)).toEqual({ promo: '50', wallet: '100', overrun: '0' });
    await expectProof();
  });

  it('gives the wallet what it had paid for overrun meanwhile', async () => {
    const limits = await createTenant(money, nanoUsd(100n));
    const id = await charged(limits, 100n, 250);
    await adjust(money, limits.tenantId, nanoUsd(200n));
    expect(await balances(limits)).toEqual({ wallet: '50', overrun: '0' });
    await refund(limits, id, 60n);
    expect(await balances(limits)).toEqual({ wallet: '110', overrun: '0' });
    await expectProof();
  });

  it('gives the wallet what promo, filled up meanwhile, does not take', async () => {
    const limits = await createTenant(money, nanoUsd(0n));
    await adjust(money, limits.tenantId, nanoUsd(1_000n), 'promo');
    const id = await charged(limits, 300n, 120);
    await adjust(money, limits.tenantId, nanoUsd(MAX_PROMO_NANO_USD - 880n - 30n), 'promo');
    await refund(limits, id, 20n);
    await refund(limits, id, 50n);
    expect(await balances(limits)).toEqual({ promo: MAX_PROMO_NANO_USD.toString(), wallet: '40', overrun: '0' });
    await expectProof();
  });

  it('goes back to the house where the house paid', async () => {
    const granted = await createTenant(money, nanoUsd(1_000n), subscription({ day: nanoUsd(10_000n) }));
    const free = await createTenant(money, nanoUsd(1_000n), { allowances: new Map([['chat', 1]]) });
    for (const [limits, account] of [
      [granted, 'granted:subscription'],
      [free, 'granted:allowance'],
    ] as const) {
      const id = await charged(limits, 300n, 120);
      const [part, rest] = [await refund(limits, id, 50n), await refund(limits, id)];
      const { rows } = await money.pool.query<object>(
        `select a.name, t.amount_nano_usd as amount, b.funding
           from billing_transaction b
           join ledger_transfer t on t.transaction_id = b.id
           join ledger_account a on a.id = t.credit_account_id
          where b.id = any ($1) order by b.id`,
        [[part.transactionId, rest.transactionId]],
      );
      const funding = account.slice('granted:'.length);
      expect(rows).toEqual([
        { name: account, amount: '50', funding },
        { name: account, amount: '70', funding },
      ]);
      expect(await balances(limits)).toEqual({ wallet: '1000', overrun: '0' });
    }
    await expectProof();
  });

  it('leaves its windows as they are', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n), keyLimits({ budget: nanoUsd(1_000n) }));
    const id = await charged(limits, 300n, 120);
    await refund(limits, id, 100n);
    const { rows } = await money.pool.query<object>(
      `select used from quota_counter where tenant_id = $1 and used > 1`,
      [limits.tenantId],
    );
    expect(rows).toEqual([{ used: '120' }]);
    await expectProof();
  });

  it('has nothing left for what is due by itself, once it was given back whole', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    const id = await charged(limits, 300n, 120);
    await refund(limits, id, 20n);
    const due = { tenantId: limits.tenantId, chargeId: id, reasonCode: 'TEST_REFUND', description: 'test' };
    expect(await money.ledger.refund(due)).toMatchObject({ isRepeat: false, amount: 100n, givenBack: 120n });
    expect(await money.ledger.refund(due)).toMatchObject({ isRepeat: true, amount: 100n, posted: 1_000n });
    await expect(refund(limits, id, 1n)).rejects.toMatchObject({ refusal: { code: 'CONFLICT', param: 'amount_usd' } });
    await expectProof();
  });

  it('is refused where its transfers were taken out of the ledger: who paid it is not known any more', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    const id = await charged(limits, 300n, 120);
    const owner = new Client({ connectionString: database.url });
    await owner.connect();
    await owner.query(`set session_replication_role = replica`);
    await owner.query(`delete from ledger_transfer where transaction_id = $1`, [id]);
    await owner.end();
    await expect(refund(limits, id, 1n)).rejects.toMatchObject({
      refusal: { code: 'CONFLICT', values: { reason: 'the transfers of the charge are no longer kept' } },
    });
    const { rows } = await money.pool.query<object>(
      `select refunded_nano_usd as refunded from billing_transaction where tenant_id = $1 and type <> 'adjustment'`,
      [limits.tenantId],
    );
    expect(rows).toEqual([{ refunded: '0' }]);
  });
});
