import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import { nanoUsd } from '../../src/kernel/money';
import { holdsKey, quotaKey } from '../../src/quota/quota-keys';
import {
  adjust,
  createTenant,
  holdRequest,
  type MoneyProcess,
  openCharge,
  outputOf,
  reserve,
  startMoneyProcess,
} from '../support/money-harness';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { startTestRedis, type TestRedis } from '../support/test-redis';

describe('a charge from reserve to ledger', () => {
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

  async function wallet(tenantId: string): Promise<{ posted: string; version: string }> {
    const { rows } = await money.pool.query<{ posted: string; version: string }>(
      `select posted_nano_usd as posted, version from ledger_account where tenant_id = $1 and name = 'wallet'`,
      [tenantId],
    );
    return rows[0] ?? { posted: 'none', version: 'none' };
  }

  async function projection(
    tenantId: string,
  ): Promise<{ held: string; posted: string; version: string; holds: number }> {
    await money.module.get(ProjectionQueue).drain(15_000);
    const state = await money.redis.client.hgetall(quotaKey(tenantId));
    return {
      held: state.held ?? '',
      posted: state.posted ?? '',
      version: state.version ?? '',
      holds: await money.redis.client.hlen(holdsKey(tenantId)),
    };
  }

  it('a settled stream moves exactly its cost and ends its hold', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    const charge = await openCharge(money, limits, 300n);
    expect(await charge.durable()).toBeUndefined();
    expect(await charge.settle(outputOf(120))).toMatchObject({ amount: 120n, posted: 880n });
    expect(await wallet(limits.tenantId)).toEqual({ posted: '880', version: '2' });
    expect(await projection(limits.tenantId)).toEqual({ held: '0', posted: '880', version: '2', holds: 0 });
  });

  it('a call that ends before its PENDING row was flushed leaves one COMMITTED row', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    const charge = await openCharge(money, limits, 300n, false);
    await charge.settle(outputOf(7));
    const { rows } = await money.pool.query(
      `select status, amount_nano_usd, hold_nano_usd, balance_before_nano_usd, balance_after_nano_usd
         from billing_transaction where tenant_id = $1 and type = 'charge'`,
      [limits.tenantId],
    );
    expect(rows).toEqual([
      {
        status: 'COMMITTED',
        amount_nano_usd: '7',
        hold_nano_usd: '300',
        balance_before_nano_usd: '1000',
        balance_after_nano_usd: '700',
      },
    ]);
  });

  it('a voided charge gives money and counted request back', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n), { dailyQuota: 1, monthlyQuota: 1 });
    const charge = await openCharge(money, limits, 300n);
    expect(await reserve(money, limits, 1n)).toMatchObject({ refusal: { code: 'QUOTA_DAILY_EXCEEDED' } });
    await charge.void({ reasonCode: 'UPSTREAM_ERROR', endReason: 'failed' });
    expect(await projection(limits.tenantId)).toMatchObject({ held: '0', posted: '1000', holds: 0 });
    const again = await openCharge(money, limits, 300n);
    await again.settle(outputOf(1));
    expect(await wallet(limits.tenantId)).toEqual({ posted: '999', version: '2' });
  });

  it('a refused reservation changes nothing and names limit, use and reset', async () => {
    const limits = await createTenant(money, nanoUsd(100n), { dailyQuota: 5 });
    await reserve(money, limits, 0n);
    const before = await money.redis.client.hgetall(quotaKey(limits.tenantId));
    expect(await reserve(money, limits, 101n)).toEqual({
      admitted: false,
      refusal: {
        code: 'QUOTA_BALANCE_EXCEEDED',
        values: { needed: '0.000000101', available: '0.000000100' },
      },
    });
    expect(await money.redis.client.hgetall(quotaKey(limits.tenantId))).toEqual(before);
  });

  it('a repeated reserve of the same hold returns the first answer and holds once', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    const request = holdRequest(limits, 400n);
    const first = await money.store.reserve(request);
    expect(await money.store.reserve(request)).toEqual(first);
    expect(await projection(limits.tenantId)).toMatchObject({ held: '400', holds: 1 });
  });

  it('what a charge costs beyond the balance goes to overrun, and the next credit repays it first', async () => {
    const limits = await createTenant(money, nanoUsd(100n), { creditLimit: nanoUsd(50n) });
    const charge = await openCharge(money, limits, 100n);
    await charge.settle(outputOf(200));
    expect(await wallet(limits.tenantId)).toEqual({ posted: '-50', version: '2' });
    await adjust(money, limits.tenantId, nanoUsd(80n));
    const { rows } = await money.pool.query(
      `select name, posted_nano_usd from ledger_account where tenant_id = $1 order by name`,
      [limits.tenantId],
    );
    expect(rows).toEqual([
      { name: 'overrun', posted_nano_usd: '0' },
      { name: 'wallet', posted_nano_usd: '-20' },
    ]);
    expect(await projection(limits.tenantId)).toMatchObject({ posted: '-20', version: '4' });
  });

  it('1,000 parallel reservations with money for 100 admit exactly 100', async () => {
    const limits = await createTenant(money, nanoUsd(100_000n));
    const outcomes = await Promise.all(Array.from({ length: 1_000 }, () => reserve(money, limits, 1_000n)));
    expect(outcomes.filter((outcome) => outcome.admitted)).toHaveLength(100);
  });

  it('charges of one tenant that settle together leave gapless versions and an exact balance', async () => {
    const limits = await createTenant(money, nanoUsd(1_000_000n));
    const charges = await Promise.all(
      Array.from({ length: 200 }, (_, at) => openCharge(money, limits, 1_000n, at % 2 === 0)),
    );
    await Promise.all(charges.map((charge, at) => charge.settle(outputOf(at))));
    expect(await wallet(limits.tenantId)).toEqual({ posted: String(1_000_000 - (199 * 200) / 2), version: '200' });
    expect(await projection(limits.tenantId)).toMatchObject({ held: '0', holds: 0, version: '200' });
  });

  it('a flushed Redis is noticed: the epoch rises and the tenant is rebuilt with its open holds', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    const open = await openCharge(money, limits, 600n);
    expect(await open.durable()).toBeUndefined();
    await money.redis.client.flushall();
    expect(await reserve(money, limits, 500n)).toMatchObject({ admitted: false });
    const second = await openCharge(money, limits, 400n);
    expect(second.held.epoch).toBeGreaterThan(open.held.epoch);
    await open.settle(outputOf(600));
    await second.settle(outputOf(400));
    expect(await projection(limits.tenantId)).toMatchObject({ held: '0', posted: '0', holds: 0 });
  });

  it('a hold whose epoch ended before its row was written is reserved again, once, under the same id', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    const open = await openCharge(money, limits, 600n);
    await money.redis.client.flushall();
    await reserve(money, limits, 0n);
    expect(await open.durable()).toBeUndefined();
    await open.settle(outputOf(10));
    expect(await wallet(limits.tenantId)).toMatchObject({ posted: '990' });
  });

  it('the ledger refuses to change a transfer, also for the owner of the table', async () => {
    for (const statement of [
      `update ledger_transfer set amount_nano_usd = 1`,
      `delete from ledger_transfer`,
      `truncate ledger_transfer`,
    ]) {
      await expect(money.pool.query(statement)).rejects.toThrow(/permission denied|append-only/);
    }
  });
});
