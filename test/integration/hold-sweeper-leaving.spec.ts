import { Client } from 'pg';
import { nanoUsd } from '../../src/kernel/money';
import { newId } from '../../src/kernel/ids';
import { holdsKey, quotaKey, tenantsOfProcessKey } from '../../src/quota/quota-keys';
import { createTenant, type MoneyProcess, openCharge, outputOf, startMoneyProcess } from '../support/money-harness';
import { usedIn } from '../support/projection';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { startTestRedis, type TestRedis } from '../support/test-redis';
import {
  BEAT_MS,
  DEAD_AFTER_MS,
  idOf,
  ManualClock,
  statusOfCharge,
  statusOfProcess,
  STILL,
  sweeperOf,
} from './hold-sweeper-stage';

describe('a process that leaves, and what it leaves to the hold sweeper', () => {
  let database: TestDatabase;
  let redis: TestRedis;
  let wire: TcpProxy;
  let leaving: MoneyProcess;
  let staying: MoneyProcess;

  beforeEach(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
    wire = await startTcpProxy(redis.url);
    const settings = { databaseUrl: database.url, ...STILL };
    leaving = await startMoneyProcess({ ...settings, redisUrl: wire.url });
    staying = await startMoneyProcess({ ...settings, redisUrl: redis.url });
  });

  afterEach(async () => {
    await staying.close();
    await wire.close();
    await redis.stop();
    await database.drop();
  });

  const statusOfLeaving = (): Promise<string | undefined> => statusOfProcess(staying, idOf(leaving));

  async function sweepTheSilent(): Promise<void> {
    const clock = new ManualClock();
    const sweeper = sweeperOf(staying, clock);
    for (let passedMs = 0; passedMs <= DEAD_AFTER_MS; passedMs += BEAT_MS) {
      await sweeper.sweep();
      clock.pass(BEAT_MS);
    }
  }

  it('has ended where everything of it is written and projected', async () => {
    const limits = await createTenant(leaving, nanoUsd(1_000n));
    const charges = [await openCharge(leaving, limits, 100n), await openCharge(leaving, limits, 100n)];
    await Promise.all(charges.map((charge) => charge.settle(outputOf(10))));
    await leaving.close();
    expect(await statusOfLeaving()).toBe('ended');
    expect(await staying.redis.client.hmget(quotaKey(limits.tenantId), 'held', 'posted')).toEqual(['0', '980']);
    expect(await staying.redis.client.exists(tenantsOfProcessKey(idOf(leaving)))).toBe(0);
  });

  it('has not ended while Redis hangs: the sweeper tells the projection what it could not', async () => {
    const limits = await createTenant(leaving, nanoUsd(1_000n), { dailyQuota: 10 });
    const settled = await openCharge(leaving, limits, 300n);
    const voided = await openCharge(leaving, limits, 200n);
    await Promise.all([settled.durable(), voided.durable()]);
    wire.setMode('silence');
    await settled.settle(outputOf(10));
    await voided.void({ reasonCode: 'UPSTREAM_ERROR', endReason: 'failed' });
    await leaving.close();
    expect(await statusOfLeaving()).toBe('alive');
    expect(await staying.redis.client.hget(quotaKey(limits.tenantId), 'held')).toBe('500');
    expect(await staying.redis.client.exists(tenantsOfProcessKey(idOf(leaving)))).toBe(1);

    await sweepTheSilent();
    expect(await staying.redis.client.hlen(holdsKey(limits.tenantId))).toBe(0);
    expect(await staying.redis.client.hmget(quotaKey(limits.tenantId), 'held', 'posted')).toEqual(['0', '990']);
    expect(await usedIn(staying.redis.client, limits.tenantId, 'day')).toBe('1');
  });

  it('has not ended while the second release of an unanswered reserve is still to come', async () => {
    const limits = await createTenant(leaving, nanoUsd(1_000n));
    leaving.charges.abandonReserve(limits.tenantId, newId());
    await leaving.close();
    expect(await statusOfLeaving()).toBe('alive');
  });

  it('has not ended where Postgres refused an ending: its PENDING row is for the sweeper', async () => {
    const limits = await createTenant(leaving, nanoUsd(1_000n));
    const charge = await openCharge(leaving, limits, 300n);
    await charge.durable();
    const owner = new Client({ connectionString: database.url });
    await owner.connect();
    await owner.query(`
      create function refuse_all() returns trigger language plpgsql as
        $$ begin raise exception 'stuck' using errcode = '23514'; end $$;
      create trigger refuse_all before update on billing_transaction for each row execute function refuse_all()`);
    await charge.void({ reasonCode: 'UPSTREAM_ERROR', endReason: 'failed' }).catch(() => undefined);
    await leaving.close();
    expect(await statusOfLeaving()).toBe('alive');

    await owner.query(`drop trigger refuse_all on billing_transaction`);
    await owner.end();
    await sweepTheSilent();
    expect(await statusOfCharge(staying, charge.held.holdId)).toBe('VOIDED');
  });
});
