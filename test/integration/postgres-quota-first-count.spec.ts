import { Client } from 'pg';
import { nanoUsd } from '../../src/kernel/money';
import { QuotaUnavailableError } from '../../src/quota/quota-store.port';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { eventually } from '../support/eventually';
import { createTenant, type MoneyProcess, reserve, startMoneyProcess } from '../support/money-harness';
import { createTestDatabase, type TestDatabase } from '../support/test-database';

const WAIT_MS = 1_000;

describe('the first call that a request quota meets while Postgres decides', () => {
  let database: TestDatabase;
  let money: MoneyProcess;
  let onlooker: Client;
  let limits: CallerLimits;

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
    onlooker = new Client({ connectionString: database.url });
    await onlooker.connect();
    limits = await createTenant(money, nanoUsd(1_000n));
    for (let call = 0; call < 3; call += 1) await reserve(money, limits, 1n);
    limits = { ...limits, dailyQuota: 5, monthlyQuota: 100 };
  });

  afterEach(() => onlooker.end());

  /** Who looks back over the month takes as long as this lasts; calls of quotas that have counted before go on. */
  async function slow(): Promise<void> {
    await onlooker.query('begin');
    await onlooker.query('lock table quota_counter in exclusive mode');
  }

  async function looksBack(): Promise<void> {
    const watcher = new Client({ connectionString: database.url });
    await watcher.connect();
    await eventually('somebody waits', async () => {
      const { rows } = await watcher.query(
        `select from pg_locks where not granted and relation = 'quota_counter'::regclass`,
      );
      return rows.length > 0 || undefined;
    });
    await watcher.end();
  }

  it('looks back once, however many calls come at once, and counts what it found', async () => {
    await slow();
    const calls = Array.from({ length: 4 }, () => reserve(money, limits, 1n));
    await looksBack();
    const { rows } = await onlooker.query(
      `select from pg_locks where not granted and relation = 'quota_counter'::regclass`,
    );
    expect(rows).toHaveLength(1);
    await onlooker.query('rollback');
    const outcomes = await Promise.all(calls);
    expect(outcomes.map(({ admitted }) => admitted)).toEqual([true, true, false, false]);
    expect(await reserve(money, limits, 1n)).toMatchObject({
      refusal: { code: 'QUOTA_DAILY_EXCEEDED', quota: { limit: 5n, used: 5n } },
    });
  });

  it('keeps neither the tenant’s accounts nor anybody’s calls while it looks back', async () => {
    const other = await createTenant(money, nanoUsd(1_000n), { dailyQuota: 100 });
    await reserve(money, other, 1n);
    await slow();
    const first = reserve(money, limits, 1n);
    await looksBack();
    const startedMs = performance.now();
    const outcomes = await Promise.all([
      reserve(money, other, 1n),
      reserve(money, { ...limits, dailyQuota: null, monthlyQuota: null }, 1n),
    ]);
    expect(outcomes.map(({ admitted }) => admitted)).toEqual([true, true]);
    expect(performance.now() - startedMs).toBeLessThan(WAIT_MS / 4);
    await onlooker.query(`select from ledger_account where tenant_id = $1 for update nowait`, [limits.tenantId]);
    await onlooker.query('rollback');
    expect(await first).toMatchObject({ admitted: true });
  });

  it('waits no longer than any call, and what was found by then serves the next one', async () => {
    await slow();
    const startedMs = performance.now();
    const outcome = await reserve(money, limits, 1n).catch((error: unknown) => error);
    expect(outcome).toBeInstanceOf(QuotaUnavailableError);
    expect(outcome).toMatchObject({ mayHold: false });
    expect(performance.now() - startedMs).toBeLessThan(WAIT_MS + 200);
    await looksBack();
    await onlooker.query('rollback');
    expect(await reserve(money, limits, 1n)).toMatchObject({ admitted: true });
  });
});
