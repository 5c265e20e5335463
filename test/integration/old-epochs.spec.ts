import { Client } from 'pg';
import { nanoUsd } from '../../src/kernel/money';
import { EpochAuthority } from '../../src/quota/epoch-authority';
import {
  createTenant,
  holdRequest,
  type MoneyProcess,
  ONE_NANO_A_TOKEN,
  reserve,
  startMoneyProcess,
} from '../support/money-harness';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { startTestRedis, type TestRedis } from '../support/test-redis';

describe('what is left of an epoch that is over', () => {
  let database: TestDatabase;
  let redis: TestRedis;
  let money: MoneyProcess;
  let operator: Client;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
    money = await startMoneyProcess({ databaseUrl: database.url, redisUrl: redis.url, processBeatMs: 3_600_000 });
    operator = new Client({ connectionString: database.url });
    await operator.connect();
  });

  afterAll(async () => {
    await operator.end();
    await money.close();
    await redis.stop();
    await database.drop();
  });

  function raiseEpoch(): Promise<void> {
    const epochs = money.module.get(EpochAuthority);
    return epochs.raiseBeyond(epochs.current, 'a test');
  }

  it('in Redis is not asked: the ledger says what a tenant has', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    expect(await reserve(money, limits, 10n)).toMatchObject({ admitted: true });
    await raiseEpoch();
    // As it is where Redis was restored from a file, or was away while charges were settled.
    await operator.query(
      `update ledger_account set posted_nano_usd = 100, version = version + 1 where tenant_id = $1 and name = 'wallet'`,
      [limits.tenantId],
    );
    expect(await reserve(money, limits, 101n)).toMatchObject({
      admitted: false,
      refusal: { code: 'QUOTA_BALANCE_EXCEEDED' },
    });
    expect(await reserve(money, limits, 100n)).toMatchObject({ admitted: true });
  });

  it('as a hold without a row gets none: what today’s holds were admitted against did not know it', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    const request = holdRequest(limits, 600n);
    const early = await money.store.reserve(request);
    if (!early.admitted) throw new Error('refused');
    await raiseEpoch();
    expect(await reserve(money, limits, 600n)).toMatchObject({ admitted: true });
    const charge = money.charges.begin(early.hold, request, ONE_NANO_A_TOKEN);
    if ('code' in charge) throw new Error(charge.code);
    expect((await charge.durable())?.code).toBe('QUOTA_BALANCE_EXCEEDED');
    const { rows } = await operator.query(`select status from billing_transaction where id = $1`, [early.hold.holdId]);
    expect(rows).toEqual([]);
    await charge.void({ reasonCode: 'TEST', endReason: 'failed' });
  });

  it('counts a call once in its minute, though it had to be reserved again', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n), { rpm: 2 });
    const request = holdRequest(limits, 100n);
    const early = await money.store.reserve(request);
    if (!early.admitted) throw new Error('refused');
    await raiseEpoch();
    const charge = money.charges.begin(early.hold, request, ONE_NANO_A_TOKEN);
    if ('code' in charge) throw new Error(charge.code);
    expect(await charge.durable()).toBeUndefined();
    expect(charge.held.epoch).toBe(early.hold.epoch + 1n);
    expect(await reserve(money, limits, 100n)).toMatchObject({ admitted: true });
    expect(await reserve(money, limits, 100n)).toMatchObject({ refusal: { code: 'TENANT_RPM_EXCEEDED' } });
    await charge.void({ reasonCode: 'TEST', endReason: 'failed' });
  });
});
