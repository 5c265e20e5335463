import { Client } from 'pg';
import { GatewayProcess } from '../../src/billing/process/gateway-process';
import { nanoUsd } from '../../src/kernel/money';
import { holdsKey } from '../../src/quota/quota-keys';
import type { HoldSweeper } from '../../src/sync/hold-sweeper';
import { eventually } from '../support/eventually';
import { createTenant, type MoneyProcess, openCharge, reserve, startMoneyProcess } from '../support/money-harness';
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

describe('whom the hold sweeper takes for dead, and until when it looks', () => {
  let database: TestDatabase;
  let redis: TestRedis;
  let other: MoneyProcess;
  let observer: MoneyProcess;
  let clock: ManualClock;
  let sweeper: HoldSweeper;

  beforeEach(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
    const settings = { databaseUrl: database.url, redisUrl: redis.url, ...STILL };
    other = await startMoneyProcess(settings);
    observer = await startMoneyProcess(settings);
    clock = new ManualClock();
    sweeper = sweeperOf(observer, clock);
  });

  afterEach(async () => {
    jest.restoreAllMocks();
    await Promise.all([other.close(), observer.close()]);
    await redis.stop();
    await database.drop();
  });

  /** Looks every beat while the beat of the other process stands still. */
  async function watchFor(durationMs: number): Promise<void> {
    for (let passedMs = 0; passedMs < durationMs; passedMs += BEAT_MS) {
      clock.pass(BEAT_MS);
      await sweeper.sweep();
    }
  }

  async function connect(): Promise<Client> {
    const client = new Client({ connectionString: database.url });
    await client.connect();
    return client;
  }

  /** Resolves when somebody has waited for a lock for longer than the hot path would. */
  async function somebodyWaits(): Promise<void> {
    const asking = await connect();
    await eventually('somebody has waited for a lock for 600 ms', async () => {
      const { rowCount } = await asking.query(
        `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
            and clock_timestamp() - query_start > interval '600 ms'`,
      );
      return rowCount === 1 ? true : undefined;
    }).finally(() => asking.end());
  }

  const statusOfOther = (): Promise<string | undefined> => statusOfProcess(observer, idOf(other));

  it('a process whose beat stood still for the whole time that we watched', async () => {
    await sweeper.sweep();
    await watchFor(DEAD_AFTER_MS - BEAT_MS);
    expect(await statusOfOther()).toBe('alive');
    await watchFor(BEAT_MS);
    expect(await statusOfOther()).toBe('dead');
  });

  it('nobody after the observer itself stood still: the others may have stood still with it', async () => {
    await sweeper.sweep();
    clock.pass(10 * DEAD_AFTER_MS);
    await sweeper.sweep();
    expect(await statusOfOther()).toBe('alive');
    await other.module.get(GatewayProcess).writeBeat();
    await watchFor(DEAD_AFTER_MS);
    expect(await statusOfOther()).toBe('alive');
    await watchFor(BEAT_MS);
    expect(await statusOfOther()).toBe('dead');
  });

  it('nobody after Postgres was away: no beat could be written', async () => {
    await sweeper.sweep();
    await watchFor(DEAD_AFTER_MS - BEAT_MS);
    const query = jest.spyOn(observer.pool, 'query').mockImplementation(() => {
      throw new Error('Postgres is away');
    });
    await watchFor(BEAT_MS);
    query.mockRestore();
    await watchFor(DEAD_AFTER_MS);
    expect(await statusOfOther()).toBe('alive');
    await watchFor(BEAT_MS);
    expect(await statusOfOther()).toBe('dead');
  });

  it('a dead process is looked at until a look long after the last finding finds nothing', async () => {
    const limits = await createTenant(other, nanoUsd(1_000n));
    await sweeper.sweep();
    await watchFor(DEAD_AFTER_MS);
    // Written late, by a statement that was on its way when the first look found nothing.
    const late = await openCharge(other, limits, 300n);
    await late.durable();
    await watchFor(DEAD_AFTER_MS);
    expect(await statusOfCharge(observer, late.held.holdId)).toBe('VOIDED');
    expect(await observer.redis.client.hlen(holdsKey(limits.tenantId))).toBe(0);
    expect(await statusOfOther()).toBe('dead');
    await watchFor(BEAT_MS);
    expect(await statusOfOther()).toBe('dead');
    await watchFor(DEAD_AFTER_MS);
    expect(await statusOfOther()).toBe('swept');
  });

  it('a dead process has the whole time after a finding of whichever sweeper led then', async () => {
    const limits = await createTenant(other, nanoUsd(1_000n));
    const third = await startMoneyProcess({ databaseUrl: database.url, redisUrl: redis.url, ...STILL });
    await sweeper.sweep();
    await watchFor(DEAD_AFTER_MS);
    const late = await openCharge(other, limits, 300n);
    await late.durable();
    await watchFor(DEAD_AFTER_MS - BEAT_MS);
    await sweeperOf(third, clock).sweep();
    expect(await statusOfCharge(observer, late.held.holdId)).toBe('VOIDED');
    // Long after our own look that found nothing, but not after the other's.
    await watchFor(DEAD_AFTER_MS);
    expect(await statusOfOther()).toBe('dead');
    await watchFor(BEAT_MS);
    expect(await statusOfOther()).toBe('swept');
    await third.close();
  });

  it('a process whose rows are on their way when it is marked: the mark waits for them', async () => {
    await sweeper.sweep();
    await watchFor(DEAD_AFTER_MS - BEAT_MS);
    const batch = await connect();
    await batch.query('begin');
    await batch.query('select pg_advisory_xact_lock_shared(process_fence($1))', [idOf(other)]);
    const marking = watchFor(BEAT_MS);
    await somebodyWaits().finally(() => batch.end());
    await marking;
    expect(await statusOfOther()).toBe('dead');
  });

  it('a dead process that beats again has the whole time before it is swept: it opens charges until it leaves', async () => {
    const limits = await createTenant(other, nanoUsd(1_000n));
    await sweeper.sweep();
    await watchFor(2 * DEAD_AFTER_MS - BEAT_MS);
    expect(await statusOfOther()).toBe('dead');
    await other.module.get(GatewayProcess).writeBeat();
    await watchFor(BEAT_MS);
    expect(await statusOfOther()).toBe('dead');
    const late = await reserve(other, limits, 300n);
    if (!late.admitted) throw new Error('refused');
    await watchFor(DEAD_AFTER_MS);
    expect(await statusOfCharge(observer, late.hold.holdId)).toBe('VOIDED');
    expect(await observer.redis.client.hlen(holdsKey(limits.tenantId))).toBe(0);
  });

  it('a process that was swept and wakes up is looked at again: what it opened meanwhile is ended', async () => {
    const limits = await createTenant(other, nanoUsd(1_000n));
    const before = await openCharge(other, limits, 100n);
    await before.durable();
    await sweeper.sweep();
    await watchFor(3 * DEAD_AFTER_MS);
    expect(await statusOfOther()).toBe('swept');

    let deaths = 0;
    other.module.get(GatewayProcess).onDeath(() => (deaths += 1));
    const withRow = await openCharge(other, limits, 200n);
    await withRow.durable();
    const withoutRow = await reserve(other, limits, 300n);
    if (!withoutRow.admitted) throw new Error('refused');
    await other.module.get(GatewayProcess).writeBeat();
    await other.module.get(GatewayProcess).writeBeat();
    expect([await statusOfOther(), deaths]).toEqual(['dead', 1]);

    await watchFor(BEAT_MS);
    expect(await statusOfCharge(observer, withRow.held.holdId)).toBe('VOIDED');
    expect(await statusOfCharge(observer, withoutRow.hold.holdId)).toBe('VOIDED');
    expect(await observer.redis.client.hlen(holdsKey(limits.tenantId))).toBe(0);
  });
});
