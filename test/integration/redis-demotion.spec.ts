import { Client } from 'pg';
import { Invariants } from '../../src/billing/invariants/invariants.service';
import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import { nanoUsd } from '../../src/kernel/money';
import type { Settings } from '../../src/platform/config/settings';
import { ProcessIdentity } from '../../src/platform/process/process-identity';
import { EpochAuthority } from '../../src/quota/epoch-authority';
import { holdsKey, quotaKey } from '../../src/quota/quota-keys';
import { QuotaUnavailableError } from '../../src/quota/quota-store.port';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { TenantRebuild } from '../../src/quota/warm-up/tenant-rebuild';
import { eventually } from '../support/eventually';
import {
  adjust,
  createTenant,
  holdRequest,
  type MoneyProcess,
  ONE_NANO_A_TOKEN,
  openCharge,
  outputOf,
  reserve,
  startMoneyProcess,
} from '../support/money-harness';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { startTestRedis, type TestRedis } from '../support/test-redis';

/** Its beats are seen: nobody takes it for dead while a test lasts. */
const LIVING = { processBeatMs: 200 } as const;

describe('a Redis server that was demoted', () => {
  let database: TestDatabase;
  let servers: readonly [TestRedis, TestRedis];
  let first: MoneyProcess;
  let limits: CallerLimits;
  const started: MoneyProcess[] = [];

  beforeEach(async () => {
    database = await createTestDatabase();
    servers = await Promise.all([startTestRedis(), startTestRedis()]);
    first = await startOn(servers[0], { processDeadMs: 2_000 });
    limits = await createTenant(first, nanoUsd(1_000n));
  });

  afterEach(async () => {
    await Promise.all(started.splice(0).map((process) => process.close()));
    await Promise.all(servers.map((server) => server.stop()));
    await database.drop();
  });

  async function startOn(server: TestRedis, overrides: Partial<Settings> = {}): Promise<MoneyProcess> {
    const urls = { databaseUrl: database.url, redisUrl: server.url };
    const process = await startMoneyProcess({ ...urls, processBeatMs: 3_600_000, ...overrides });
    started.push(process);
    return process;
  }

  async function stop(process: MoneyProcess): Promise<void> {
    started.splice(started.indexOf(process), 1);
    await process.close();
  }

  async function epoch(): Promise<number> {
    const { rows } = await first.pool.query<{ epoch: string }>(`select epoch from quota_authority`);
    return Number(rows[0]?.epoch);
  }

  /** Nobody hears of a raise any more: the feed of the first process has missed it. */
  async function silenceFeed(): Promise<void> {
    const owner = new Client({ connectionString: database.url });
    await owner.connect();
    await owner.query(`alter table quota_authority disable trigger quota_authority_changed`);
    await owner.end();
  }

  async function isDemoted(): Promise<void> {
    await eventually('the first one is demoted', () => first.module.get(EpochAuthority).isDemoted || undefined);
  }

  async function afterReconnects(process: MoneyProcess, count: number): Promise<void> {
    let connects = 0;
    process.redis.client.on('connect', () => (connects += 1));
    await eventually('it has tried again', () => connects >= count || undefined);
  }

  /** The second one knows that of 1,000 only 50 were spent, holds nothing, and 100 more were taken from the wallet. */
  async function secondKnows(second: MoneyProcess): Promise<void> {
    await eventually('the second one is told', async () => {
      const outcome = await reserve(second, limits, 851n);
      if (outcome.admitted) throw new Error('more was admitted than there is');
      return (await second.redis.client.hlen(holdsKey(limits.tenantId))) === 0 || undefined;
    });
    const last = await openCharge(second, limits, 850n);
    expect(await last.durable()).toBeUndefined();
    await last.settle(outputOf(850));
    await second.module.get(ProjectionQueue).drain(15_000);
    const results = await second.module.get(Invariants).check();
    expect(results.filter(({ verdict }) => verdict !== 'holds')).toEqual([]);
  }

  /** The second one is current, and the first, which has not heard of it, has told the old server what ended since. */
  async function toldTheOldServer(): Promise<MoneyProcess> {
    const open = await openCharge(first, limits, 600n);
    expect(await open.durable()).toBeUndefined();
    await silenceFeed();
    const second = await startOn(servers[1], LIVING);
    expect(await reserve(second, limits, 401n)).toMatchObject({ admitted: false });
    await open.settle(outputOf(50));
    await adjust(first, limits.tenantId, nanoUsd(-100n));
    expect(await first.module.get(ProjectionQueue).drain(15_000)).toBe(true);
    return second;
  }

  describe('takes no ending from the current one', () => {
    it('where a process has heard of a new epoch and not yet read whose it is', async () => {
      const open = await openCharge(first, limits, 600n);
      expect(await open.durable()).toBeUndefined();
      const epochs = first.module.get(EpochAuthority);
      const gate = Promise.withResolvers<undefined>();
      const refresh = epochs.refresh.bind(epochs);
      jest.spyOn(epochs, 'refresh').mockImplementation(() => gate.promise.then(refresh));
      const second = await startOn(servers[1], LIVING);
      expect(await reserve(second, limits, 401n)).toMatchObject({ admitted: false });
      await eventually('it is heard', () => epochs.behind && true);

      await open.settle(outputOf(50));
      await adjust(first, limits.tenantId, nanoUsd(-100n));
      expect(await first.module.get(ProjectionQueue).drain(300)).toBe(false);
      expect(await first.redis.client.hlen(holdsKey(limits.tenantId))).toBe(1);
      gate.resolve(undefined);
      await isDemoted();
      await secondKnows(second);
    }, 60_000);

    it('where a process told it before it heard of the new epoch: one raise is owed, and then it rests', async () => {
      const [open, failing] = [await openCharge(first, limits, 600n), await openCharge(first, limits, 100n)];
      expect([await open.durable(), await failing.durable()]).toEqual([undefined, undefined]);
      await silenceFeed();
      const second = await startOn(servers[1], LIVING);
      expect(await reserve(second, limits, 301n)).toMatchObject({ admitted: false });
      await open.settle(outputOf(50));
      await failing.void({ reasonCode: 'TEST', endReason: 'failed' });
      await adjust(first, limits.tenantId, nanoUsd(-100n));
      expect(await first.module.get(ProjectionQueue).drain(15_000)).toBe(true);

      const before = await epoch();
      await first.module.get(EpochAuthority).refresh();
      await isDemoted();
      await eventually('the epoch is raised', async () => (await epoch()) > before || undefined);
      await second.module.get(EpochAuthority).refresh();
      await secondKnows(second);
      await afterReconnects(first, 4);
      expect(await epoch()).toBe(before + 1);
    }, 60_000);

    it('where the process that told it leaves before it could raise the epoch: it has not ended then', async () => {
      await toldTheOldServer();
      const onlooker = new Client({ connectionString: database.url });
      await onlooker.connect();
      await onlooker.query('begin');
      await onlooker.query('select pg_advisory_xact_lock_shared(quota_fence())');
      await first.module.get(EpochAuthority).refresh();
      await isDemoted();
      const { id } = first.module.get(ProcessIdentity);
      await stop(first);
      const { rows } = await onlooker.query<object>(`select status from gateway_process where id = $1`, [id]);
      expect(rows).toEqual([{ status: 'alive' }]);
      await onlooker.end();
    }, 60_000);

    it('where the process that told it lost it, and follows to the current one', async () => {
      const second = await toldTheOldServer();

      const before = await epoch();
      first.redis.client.options.port = servers[1].port;
      first.redis.client.disconnect(true);
      await eventually('the epoch is raised', async () => (await epoch()) > before || undefined);
      expect(first.redis.server?.runId).toBe(second.redis.server?.runId);
      await second.module.get(EpochAuthority).refresh();
      await secondKnows(second);
      expect(await epoch()).toBe(before + 1);
    }, 60_000);

    it('where the process that told it ends before it has raised the epoch', async () => {
      const second = await toldTheOldServer();
      await first.module.get(EpochAuthority).refresh();
      await stop(first);
      await second.module.get(EpochAuthority).refresh();
      await secondKnows(second);
    }, 60_000);
  });

  it('is not rebuilt over the mark of the current one, by which the loss of that one is noticed', async () => {
    expect(await reserve(first, limits, 1n)).toMatchObject({ admitted: true });
    await silenceFeed();
    const second = await startOn(servers[1]);
    const request = holdRequest(limits, 1_000n);
    const outcome = await second.store.reserve(request);
    if (!outcome.admitted) throw new Error('refused');
    await expect(first.module.get(TenantRebuild).rebuild(limits.tenantId)).rejects.toThrow(QuotaUnavailableError);

    // With its projection a hold is lost that has no row yet: whoever is admitted now has the money alone.
    await second.redis.client.del(quotaKey(limits.tenantId));
    const other = await openCharge(second, limits, 1_000n);
    expect(await other.durable()).toBeUndefined();
    const lost = second.charges.begin(outcome.hold, request, ONE_NANO_A_TOKEN);
    if ('code' in lost) throw new Error(`refused: ${lost.code}`);
    expect(await lost.durable()).toMatchObject({ code: 'QUOTA_BALANCE_EXCEEDED' });
  });

  it('is left although the first attempt to read the new epoch fails', async () => {
    jest.spyOn(first.module.get(EpochAuthority), 'refresh').mockRejectedValueOnce(new Error('Postgres is slow'));
    await startOn(servers[1]);
    await isDemoted();
  });

  it('is found out within a beat where the feed missed the new epoch', async () => {
    const beating = await startOn(servers[0], LIVING);
    await silenceFeed();
    await startOn(servers[1]);
    await eventually('it is demoted', () => beating.module.get(EpochAuthority).isDemoted || undefined);
  });

  describe('becomes current again', () => {
    it('at once where the only process that led to the current one has ended', async () => {
      const second = await startOn(servers[1]);
      await isDemoted();
      await stop(second);
      await eventually('the first one is back', () => first.redis.isReady || undefined);
      expect(await reserve(first, limits, 1_000n)).toMatchObject({ admitted: true });
    });

    it.each(['its beat stands still', 'it was declared dead'])(
      'where the only process that led to the current one is gone without a word: %s',
      async (how) => {
        const second = await startOn(servers[1]);
        await isDemoted();
        const { id } = second.module.get(ProcessIdentity);
        if (how === 'it was declared dead') {
          await first.pool.query(`update gateway_process set status = 'dead' where id = $1`, [id]);
        }
        await eventually('the first one is back', () => first.redis.isReady || undefined);
        expect(await reserve(first, limits, 1_000n)).toMatchObject({ admitted: true });
      },
    );

    it('not while a process lives that leads to the current one, also one that came later than the claim', async () => {
      const second = await startOn(servers[1]);
      await isDemoted();
      const later = await startOn(servers[1], LIVING);
      await stop(second);
      await afterReconnects(first, 8);
      expect(first.redis.isReady).toBe(false);
      const { rows } = await first.pool.query<{ run_id: string }>(`select run_id from quota_authority`);
      expect(rows[0]?.run_id).toBe(later.redis.server?.runId);
      expect(await reserve(later, limits, 1_000n)).toMatchObject({ admitted: true });
    }, 30_000);
  });
});
