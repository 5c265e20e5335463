import { setImmediate as nextTurn } from 'node:timers/promises';
import type { OpenCharge } from '../../src/billing/settlement/open-charge';
import { Invariants } from '../../src/billing/invariants/invariants.service';
import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import { nanoUsd } from '../../src/kernel/money';
import { QuotaUnavailableError } from '../../src/quota/quota-store.port';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { eventually } from '../support/eventually';
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

/** Two gateways with one database and, by mistake or in the middle of a failover, a Redis server each. */
describe('two Redis servers', () => {
  let database: TestDatabase;
  let servers: readonly [TestRedis, TestRedis];
  const started: MoneyProcess[] = [];

  beforeEach(async () => {
    database = await createTestDatabase();
    servers = await Promise.all([startTestRedis(), startTestRedis()]);
  });

  afterEach(async () => {
    await Promise.all(started.splice(0).map((process) => process.close()));
    await Promise.all(servers.map((server) => server.stop()));
    await database.drop();
  });

  async function startOn(redisUrl: string): Promise<MoneyProcess> {
    const process = await startMoneyProcess({ databaseUrl: database.url, redisUrl, processBeatMs: 3_600_000 });
    started.push(process);
    return process;
  }

  async function authority(process: MoneyProcess): Promise<{ epoch: number; runId: string }> {
    const { rows } = await process.pool.query<{ epoch: string; run_id: string }>(
      `select epoch, run_id from quota_authority`,
    );
    return { epoch: Number(rows[0]?.epoch), runId: rows[0]?.run_id ?? 'none' };
  }

  /** The charge where it was admitted and its PENDING row stands; undefined where the call was turned away. */
  async function admit(process: MoneyProcess, limits: CallerLimits, amount: bigint): Promise<OpenCharge | undefined> {
    try {
      const charge = await openCharge(process, limits, amount);
      if ((await charge.durable()) === undefined) return charge;
      await charge.void({ reasonCode: 'TEST', endReason: 'failed' });
    } catch (error) {
      if (!(error instanceof QuotaUnavailableError || (error as Error).message.startsWith('refused: '))) throw error;
    }
    return undefined;
  }

  /** Resolves when the process has come back to its own server this often and was turned away. */
  async function afterReconnects(process: MoneyProcess, count: number): Promise<void> {
    let connects = 0;
    process.redis.client.on('connect', () => (connects += 1));
    await eventually('it has tried again', () => connects >= count || undefined);
  }

  it('never admit at the same time: money for 100 calls admits 100 in all, and the epoch comes to rest', async () => {
    const first = await startOn(servers[0].url);
    const limits = await createTenant(first, nanoUsd(100_000n));
    const state = { isOver: false, admitted: 0 };
    const callFirst = async (): Promise<void> => {
      while (!state.isOver) {
        if (await admit(first, limits, 1_000n)) state.admitted += 1;
        // Who is turned away without a round trip must let others have their turn.
        await nextTurn();
      }
    };
    const callers = Array.from({ length: 4 }, callFirst);
    await eventually('the first one admits', () => state.admitted >= 20 || undefined);
    const second = await startOn(servers[1].url);
    await Promise.all(
      Array.from({ length: 150 }, async () => {
        if (await admit(second, limits, 1_000n)) state.admitted += 1;
      }),
    );
    state.isOver = true;
    await Promise.all(callers);
    expect(state.admitted).toBe(100);
    const { rows } = await second.pool.query<{ n: string }>(
      `select count(*) as n from billing_transaction where status = 'PENDING'`,
    );
    expect(rows[0]?.n).toBe('100');

    expect(first.redis.isReady).toBe(false);
    await expect(reserve(first, limits, 1n)).rejects.toThrow(QuotaUnavailableError);
    await expect(reserve(first, limits, 1n)).rejects.toThrow(/another Redis server is current/);
    expect(await reserve(second, limits, 1n)).toMatchObject({ refusal: { code: 'QUOTA_BALANCE_EXCEEDED' } });

    await eventually('what was turned away is told', () => first.module.get(ProjectionQueue).depth === 0 || undefined);
    // The one raise that the first one owes comes within a second.
    await afterReconnects(first, 4);
    const before = await authority(second);
    await afterReconnects(first, 3);
    await reserve(second, limits, 1n);
    expect(await authority(second)).toEqual(before);
    expect(before.runId).toBe(second.redis.server?.runId);
  }, 60_000);

  it('the current one learns of charges that end where it was demoted', async () => {
    const first = await startOn(servers[0].url);
    const limits = await createTenant(first, nanoUsd(1_000n));
    const open = await openCharge(first, limits, 600n);
    const failing = await openCharge(first, limits, 100n);
    expect([await open.durable(), await failing.durable()]).toEqual([undefined, undefined]);
    const second = await startOn(servers[1].url);
    expect(await reserve(second, limits, 301n)).toMatchObject({ admitted: false });
    await eventually('the first one is demoted', () => (first.redis.isReady ? undefined : true));

    expect(await open.settle(outputOf(50))).toMatchObject({ amount: 50n });
    await failing.void({ reasonCode: 'TEST', endReason: 'failed' });
    await eventually('all is told', () => first.module.get(ProjectionQueue).depth === 0 || undefined);
    const last = await openCharge(second, limits, 950n);
    expect(await last.durable()).toBeUndefined();
    await last.settle(outputOf(950));
    await second.module.get(ProjectionQueue).drain(15_000);
    const results = await second.module.get(Invariants).check();
    expect(results.filter(({ verdict }) => verdict !== 'holds')).toEqual([]);
  }, 60_000);

  it('a process that is turned away follows when its address leads to the current one', async () => {
    const first = await startOn(servers[0].url);
    const limits = await createTenant(first, nanoUsd(1_000n));
    await openCharge(first, limits, 100n);
    const second = await startOn(servers[1].url);
    await eventually('the first one is demoted', () => (first.redis.isReady ? undefined : true));
    // The name now leads elsewhere, as after a failover.
    first.redis.client.options.port = servers[1].port;
    await eventually('it has followed', () => first.redis.isReady || undefined);
    expect(first.redis.server?.runId).toBe(second.redis.server?.runId);
    expect(await reserve(first, limits, 100n)).toMatchObject({ admitted: true });
  }, 60_000);

  it('one server under two addresses is one: no epoch is raised', async () => {
    const first = await startOn(servers[0].url);
    const before = await authority(first);
    const second = await startOn(servers[0].url.replace('127.0.0.1', 'localhost'));
    expect(second.redis.isReady && first.redis.isReady).toBe(true);
    expect(await authority(first)).toEqual(before);
  });

  it('a server that was started anew is another one: the epoch rises once for all its gateways', async () => {
    const processes = [await startOn(servers[0].url), await startOn(servers[0].url)] as const;
    const limits = await createTenant(processes[0], nanoUsd(1_000n));
    const before = await authority(processes[0]);
    await servers[0].kill9();
    await servers[0].restart();
    await eventually('both are back', async () => {
      const outcomes = await Promise.allSettled(processes.map((process) => reserve(process, limits, 1n)));
      return outcomes.every(({ status }) => status === 'fulfilled') || undefined;
    });
    const after = await authority(processes[0]);
    expect(after.epoch).toBe(before.epoch + 1);
    expect(after.runId).not.toBe(before.runId);
  });
});
