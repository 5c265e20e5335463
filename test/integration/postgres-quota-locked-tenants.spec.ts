import { Client } from 'pg';
import { nanoUsd } from '../../src/kernel/money';
import { QuotaUnavailableError } from '../../src/quota/quota-store.port';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { createTenant, type MoneyProcess, openCharge, reserve, startMoneyProcess } from '../support/money-harness';
import { createTestDatabase, type TestDatabase } from '../support/test-database';

const WAIT_MS = 1_000;
const FREE_TENANTS = 5;

describe('tenants whose accounts somebody has locked', () => {
  let database: TestDatabase;
  let money: MoneyProcess;
  let locker: Client;
  let free: readonly CallerLimits[];

  beforeAll(async () => {
    database = await createTestDatabase();
    money = await startMoneyProcess({
      databaseUrl: database.url,
      redisUrl: 'none',
      billingWaitMs: WAIT_MS,
      processBeatMs: 3_600_000,
      processDeadMs: 14_400_000,
    });
  });

  afterAll(async () => {
    await money.close();
    await database.drop();
  });

  beforeEach(async () => {
    locker = new Client({ connectionString: database.url });
    await locker.connect();
    free = await tenants(FREE_TENANTS);
  });

  afterEach(() => locker.end());

  function tenants(count: number): Promise<readonly CallerLimits[]> {
    return Promise.all(Array.from({ length: count }, () => createTenant(money, nanoUsd(1_000_000n))));
  }

  async function lock(tenantIds: readonly string[]): Promise<void> {
    await locker.query('begin');
    await locker.query('select from ledger_account where tenant_id = any ($1) order by id for update', [tenantIds]);
  }

  /** How long the slowest of the free tenants' calls took. */
  async function slowestFreeMs(): Promise<number> {
    const startedMs = performance.now();
    const outcomes = await Promise.all(free.map((limits) => reserve(money, limits, 1n)));
    expect(outcomes.every(({ admitted }) => admitted)).toBe(true);
    return performance.now() - startedMs;
  }

  it.each([1, 10, 150])(
    'keep only their own calls waiting: %d of them',
    async (count) => {
      const locked = await tenants(count);
      await lock(locked.map(({ tenantId }) => tenantId));
      const theirs: Promise<unknown>[] = [];
      const tookMs: number[] = [];
      // Longer than a call waits: some have gone, their tenants are asked for again, and are still locked.
      const untilMs = performance.now() + 2 * WAIT_MS;
      while (performance.now() < untilMs) {
        if (theirs.length < 900) theirs.push(...locked.map((limits) => reserve(money, limits, 1n).catch(keep)));
        tookMs.push(await slowestFreeMs());
      }
      const late = tookMs.filter((ms) => ms > WAIT_MS / 2);
      expect(late).toEqual([]);
      await locker.query('rollback');
      const outcomes = await Promise.all(theirs);
      const refused = outcomes.filter((outcome) => outcome instanceof QuotaUnavailableError);
      expect(refused.length).toBeGreaterThan(0);
      // Nothing was done for them, so there is nothing to be given back; but who goes while being asked for does not know.
      expect(refused.filter(({ mayHold }) => mayHold).length).toBeLessThan(refused.length / 4);
    },
    30_000,
  );

  it('are served as soon as they are not locked any more', async () => {
    const locked = await tenants(10);
    await lock(locked.map(({ tenantId }) => tenantId));
    const theirs = locked.flatMap((limits) => [1, 2, 3].map(() => reserve(money, limits, 1n)));
    await slowestFreeMs();
    await locker.query('rollback');
    const outcomes = await Promise.all(theirs);
    expect(outcomes.filter(({ admitted }) => admitted)).toHaveLength(30);
  });

  it('keep no other tenant’s stream from growing, nor its holds from being given back', async () => {
    const [limits] = free;
    if (!limits) throw new Error('no tenant');
    const charge = await openCharge(money, limits, 1n);
    await charge.durable();
    const abandoned = await openCharge(money, limits, 1n);
    const locked = await tenants(10);
    await lock(locked.map(({ tenantId }) => tenantId));
    const theirs = locked.map((caller) => reserve(money, caller, 1n).catch(keep));
    await slowestFreeMs();
    const startedMs = performance.now();
    const extension = {
      holdId: charge.held.holdId,
      limits,
      epoch: charge.held.epoch,
      amount: nanoUsd(5n),
      service: 'chat',
      platform: 'openai',
    } as const;
    expect(await money.store.extend(extension)).toEqual({ extended: true });
    await money.store.release(limits.tenantId, [abandoned.held.holdId]);
    expect(performance.now() - startedMs).toBeLessThan(WAIT_MS / 2);
    await locker.query('rollback');
    await Promise.all(theirs);
  });
});

/** Of a call that was given up. */
function keep(error: unknown): unknown {
  return error;
}
