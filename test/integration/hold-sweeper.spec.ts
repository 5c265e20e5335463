import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import { Invariants } from '../../src/billing/invariants/invariants.service';
import { nanoUsd } from '../../src/kernel/money';
import { ProcessIdentity } from '../../src/platform/process/process-identity';
import { holdsKey, quotaKey } from '../../src/quota/quota-keys';
import { DeadProcesses } from '../../src/sync/dead-processes';
import { HoldSweeper } from '../../src/sync/hold-sweeper';
import {
  createTenant,
  type MoneyProcess,
  openCharge,
  outputOf,
  reserve,
  startMoneyProcess,
} from '../support/money-harness';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { startTestRedis, type TestRedis } from '../support/test-redis';

describe('dead processes', () => {
  it('are those whose beat stood still for the whole time that we watched', () => {
    const watch = new DeadProcesses(1_000);
    const beats = (...list: [string, string][]): { id: string; beat: string }[] =>
      list.map(([id, beat]) => ({ id, beat }));
    expect(watch.observe(beats(['a', '5'], ['b', '1']), 0)).toEqual([]);
    expect(watch.observe(beats(['a', '5'], ['b', '2']), 999)).toEqual([]);
    expect(watch.observe(beats(['a', '5'], ['b', '2']), 1_000)).toEqual(beats(['a', '5']));
    // Gone and back: watched anew.
    expect(watch.observe(beats(['b', '3']), 1_001)).toEqual([]);
    expect(watch.observe(beats(['a', '5']), 2_500)).toEqual([]);
  });
});

describe('the hold sweeper', () => {
  let database: TestDatabase;
  let redis: TestRedis;
  let dead: MoneyProcess;
  let living: MoneyProcess;

  /** No beat and no round by timer: the test decides what happens when. */
  const still = { processBeatMs: 3_600_000, processDeadMs: 200 };

  beforeEach(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
    const urls = { databaseUrl: database.url, redisUrl: redis.url, ...still };
    dead = await startMoneyProcess(urls);
    living = await startMoneyProcess(urls);
  });

  afterEach(async () => {
    await Promise.all([dead.close(), living.close()]);
    await redis.stop();
    await database.drop();
  });

  /** Declares the process dead as its sweeper does, and lets the other sweep. */
  async function sweep(): Promise<void> {
    await living.pool.query(`update gateway_process set status = 'dead' where id = $1`, [
      dead.module.get(ProcessIdentity).id,
    ]);
    await living.module.get(HoldSweeper).sweep();
    await living.module.get(ProjectionQueue).drain(2_000);
  }

  async function statusOf(holdId: string): Promise<string | undefined> {
    const { rows } = await living.pool.query<{ status: string }>(
      `select status from billing_transaction where id = $1`,
      [holdId],
    );
    return rows[0]?.status;
  }

  async function expectInvariants(): Promise<void> {
    const results = await living.module.get(Invariants).check();
    expect(results.filter(({ verdict }) => verdict !== 'holds')).toEqual([]);
  }

  it('voids what a dead process left open, and touches nothing of a living one', async () => {
    const limits = await createTenant(dead, nanoUsd(1_000n));
    const left = await openCharge(dead, limits, 300n);
    const alive = await openCharge(living, limits, 200n);
    expect([await left.durable(), await alive.durable()]).toEqual([undefined, undefined]);
    await sweep();
    expect(await statusOf(left.held.holdId)).toBe('VOIDED');
    expect(await statusOf(alive.held.holdId)).toBe('PENDING');
    expect(await living.redis.client.hget(quotaKey(limits.tenantId), 'held')).toBe('200');
    await alive.settle(outputOf(200));
    await living.module.get(ProjectionQueue).drain(2_000);
    await expectInvariants();
  });

  it('gives a hold without a row a VOIDED row first, so that a late insert collides', async () => {
    const limits = await createTenant(dead, nanoUsd(1_000n));
    const outcome = await reserve(dead, limits, 300n);
    if (!outcome.admitted) throw new Error('refused');
    await sweep();
    expect(await statusOf(outcome.hold.holdId)).toBe('VOIDED');
    expect(await living.redis.client.hlen(holdsKey(limits.tenantId))).toBe(0);
    await expectInvariants();
  });

  it('finishes the projection of a charge that was committed but never applied', async () => {
    const limits = await createTenant(dead, nanoUsd(1_000n));
    const charge = await openCharge(dead, limits, 300n);
    const entry = await dead.redis.client.hget(holdsKey(limits.tenantId), charge.held.holdId);
    await charge.settle(outputOf(10));
    await dead.module.get(ProjectionQueue).drain(2_000);
    // As if the process had died between the commit and telling Redis.
    await dead.redis.client.hset(holdsKey(limits.tenantId), charge.held.holdId, entry ?? '');
    await dead.redis.client.hset(quotaKey(limits.tenantId), 'held', '300', 'posted', '1000', 'version', '1');
    await sweep();
    expect(await living.redis.client.hmget(quotaKey(limits.tenantId), 'held', 'posted', 'version')).toEqual([
      '0',
      '990',
      '2',
    ]);
    await expectInvariants();
  });

  it('a paused process that settles after it was swept is charged by a linked correction, once', async () => {
    const limits = await createTenant(dead, nanoUsd(1_000n));
    const charge = await openCharge(dead, limits, 300n);
    await charge.durable();
    await sweep();
    expect(await charge.settle(outputOf(120))).toMatchObject({ amount: 120n });
    const { rows } = await living.pool.query(
      `select type, status, amount_nano_usd, reason_code from billing_transaction
        where tenant_id = $1 and type <> 'adjustment' order by type`,
      [limits.tenantId],
    );
    expect(rows).toEqual([
      { type: 'charge', status: 'VOIDED', amount_nano_usd: '0', reason_code: 'PROCESS_DEAD' },
      { type: 'correction', status: 'COMMITTED', amount_nano_usd: '120', reason_code: 'LATE_SETTLE' },
    ]);
    await dead.module.get(ProjectionQueue).drain(2_000);
    await expectInvariants();
  });

  it('of two sweepers at once, one resolves each charge', async () => {
    const limits = await createTenant(dead, nanoUsd(100_000n));
    const charges = await Promise.all(Array.from({ length: 40 }, () => openCharge(dead, limits, 100n)));
    await Promise.all(charges.map((charge) => charge.durable()));
    await Promise.all([sweep(), sweep()]);
    const { rows } = await living.pool.query(
      `select status, count(*)::int as n from billing_transaction where type = 'charge' group by status`,
    );
    expect(rows).toEqual([{ status: 'VOIDED', n: 40 }]);
    await expectInvariants();
  });
});
