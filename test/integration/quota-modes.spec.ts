import { nanoUsd } from '../../src/kernel/money';
import { EpochAuthority } from '../../src/quota/epoch-authority';
import { QuotaUnavailableError } from '../../src/quota/quota-store.port';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { eventually } from '../support/eventually';
import { createTenant, type MoneyProcess, openCharge, outputOf, reserve } from '../support/money-harness';
import { ModesStage, STILL } from './quota-modes-stage';

const BALANCE = 10_000_000n;

describe('who decides over quota', () => {
  let stage: ModesStage;

  beforeEach(async () => {
    stage = await ModesStage.open();
  });

  afterEach(() => stage.close(), 30_000);

  async function wallet(limits: CallerLimits): Promise<bigint> {
    return stage.asOwner(async (client) => {
      const { rows } = await client.query<{ posted_nano_usd: string }>(
        `select posted_nano_usd from tenant_balance where tenant_id = $1`,
        [limits.tenantId],
      );
      return BigInt(rows[0]?.posted_nano_usd ?? 0);
    });
  }

  async function open(...pending: readonly string[]): Promise<number> {
    return stage.asOwner(async (client) => {
      const { rows } = await client.query<{ n: string }>(
        `select count(*) as n from billing_transaction where status = any ($1)`,
        [pending],
      );
      return Number(rows[0]?.n);
    });
  }

  /** Calls fail as many times as open the circuit. */
  async function failing(process: MoneyProcess, limits: CallerLimits): Promise<void> {
    for (let call = 0; call < 4; call += 1) {
      await expect(reserve(process, limits, 1n)).rejects.toThrow(QuotaUnavailableError);
    }
  }

  it('is Postgres for everybody once Redis is killed under load, and not a cent is lost', async () => {
    const [first] = [await stage.start(), await stage.start(), await stage.start()];
    const limits = await createTenant(first, nanoUsd(BALANCE), { dailyQuota: 1_000_000 });
    const load = stage.load(limits, 100n);
    await load.goesOn();
    await stage.redis.kill9();
    await stage.all('postgres');
    await load.goesOn(100);
    await load.stop();
    expect(await open('PENDING')).toBe(0);
    expect(await wallet(limits)).toBe(BALANCE - load.settledNanoUsd);
    expect((await stage.authority()).mode).toBe('postgres');
    const broken = await stage.broken();
    expect(broken.filter((found) => !('id' in found && found.id === 'I2'))).toEqual([]);
  }, 60_000);

  it('is Redis again once every process has seen it for long enough, there and back under load', async () => {
    const [first] = [await stage.start(), await stage.start(), await stage.start()];
    const limits = await createTenant(first, nanoUsd(BALANCE), { dailyQuota: 1_000_000, concurrency: 1_000 });
    const load = stage.load(limits, 100n);
    for (let round = 0; round < 3; round += 1) {
      await load.goesOn();
      await stage.redis.kill9();
      await stage.all('postgres');
      await load.goesOn();
      await stage.redis.restart();
      await stage.all('redis');
      await load.goesOn();
    }
    await load.stop();
    expect(load.refused).toBe(0);
    expect(await wallet(limits)).toBe(BALANCE - load.settledNanoUsd);
    await eventually(
      'the invariants are at rest',
      async () => (await stage.broken()).length === 0 || undefined,
      20_000,
    );
    const after = await reserve(first, limits, BALANCE - load.settledNanoUsd);
    expect(after).toMatchObject({ admitted: true });
  }, 120_000);

  it('is Postgres for everybody where one process alone is cut off from Redis', async () => {
    const first = await stage.start(STILL);
    const second = await stage.start({ ...STILL, billingCircuitFailures: 5 });
    const limits = await createTenant(first, nanoUsd(1_000n));
    const held = await openCharge(first, limits, 600n);
    expect(await held.durable()).toBeUndefined();
    stage.wires[1]?.setMode('silence');
    stage.wires[1]?.reset();
    await eventually('the loss is noticed', () => (second.redis.isReady ? undefined : true));
    await failing(second, limits);
    // The call that opens the circuit is answered by Postgres, which counts what the other one holds.
    expect(await reserve(second, limits, 401n)).toMatchObject({ refusal: { code: 'QUOTA_BALANCE_EXCEEDED' } });
    await stage.all('postgres');
    expect(first.redis.isReady).toBe(true);
    const [mine, theirs] = await Promise.all([reserve(first, limits, 300n), reserve(second, limits, 300n)]);
    expect([mine.admitted, theirs.admitted].filter(Boolean)).toHaveLength(1);
    expect((await stage.authority()).epoch).toBe(Number(held.held.epoch) + 1);
  }, 30_000);

  it('changes with two raises and no money lost where it goes there and back at once', async () => {
    const first = await stage.start();
    const limits = await createTenant(first, nanoUsd(1_000n));
    const held = await openCharge(first, limits, 600n);
    expect(await held.durable()).toBeUndefined();
    const before = await stage.authority();
    await first.module.get(EpochAuthority).switchToPostgres('test');
    expect(await reserve(first, limits, 401n)).toMatchObject({ admitted: false });
    await stage.all('redis');
    expect(await stage.authority()).toEqual({ ...before, epoch: before.epoch + 2 });
    expect(await reserve(first, limits, 401n)).toMatchObject({ admitted: false });
    await held.settle(outputOf(600));
    expect(await stage.broken()).toEqual([]);
  }, 30_000);

  it('is nobody while both are away, and Postgres as soon as it is back', async () => {
    const first = await stage.start(STILL);
    const limits = await createTenant(first, nanoUsd(1_000n));
    await reserve(first, limits, 1n);
    await stage.redis.kill9();
    await eventually('the loss is noticed', () => (first.redis.isReady ? undefined : true));
    const lock = await lockFence();
    await failing(first, limits);
    await expect(reserve(first, limits, 1n)).rejects.toThrow(QuotaUnavailableError);
    const startedMs = performance.now();
    await expect(reserve(first, limits, 1n)).rejects.toThrow(QuotaUnavailableError);
    expect(performance.now() - startedMs).toBeLessThan(2_500);
    await lock();
    await eventually('Postgres decides', async () =>
      reserve(first, limits, 1n).then(
        (outcome) => outcome.admitted || undefined,
        () => undefined,
      ),
    );
  }, 30_000);

  /** Postgres takes neither rows nor raises until the answer is called. */
  async function lockFence(): Promise<() => Promise<void>> {
    const { Client } = await import('pg');
    const client = new Client({ connectionString: stage.database.url });
    await client.connect();
    await client.query('begin');
    await client.query('select pg_advisory_xact_lock(quota_fence())');
    return async () => {
      await client.query('rollback');
      await client.end();
    };
  }
});
