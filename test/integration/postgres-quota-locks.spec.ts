import { Client } from 'pg';
import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import { newId } from '../../src/kernel/ids';
import { nanoUsd } from '../../src/kernel/money';
import { EpochAuthority } from '../../src/quota/epoch-authority';
import { QuotaUnavailableError } from '../../src/quota/quota-store.port';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { eventually } from '../support/eventually';
import {
  createTenant,
  holdRequest,
  type MoneyProcess,
  openCharge,
  reserve,
  startMoneyProcess,
} from '../support/money-harness';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy';
import { createTestDatabase, type TestDatabase } from '../support/test-database';

const WAIT_MS = 1_000;

describe('reservations in Postgres', () => {
  let database: TestDatabase;
  let wire: TcpProxy;
  let money: MoneyProcess;
  let onlooker: Client;
  let limits: CallerLimits;

  beforeAll(async () => {
    database = await createTestDatabase();
    wire = await startTcpProxy(database.url);
    money = await startMoneyProcess({
      databaseUrl: wire.url,
      redisUrl: 'none',
      billingWaitMs: WAIT_MS,
      processBeatMs: 3_600_000,
      processDeadMs: 14_400_000,
    });
  });

  afterAll(async () => {
    await money.close();
    await wire.close();
    await database.drop();
  });

  beforeEach(async () => {
    onlooker = new Client({ connectionString: database.url });
    await onlooker.connect();
    limits = await createTenant(money, nanoUsd(1_000n));
  });

  afterEach(() => onlooker.end());

  async function lock(tenantId: string): Promise<void> {
    await onlooker.query('begin');
    await onlooker.query(`select from ledger_account where tenant_id = $1 for update`, [tenantId]);
  }

  async function rows(): Promise<readonly object[]> {
    const found = await onlooker.query<object>(
      `select status, reason_code from billing_transaction where tenant_id = $1 and type = 'charge' order by id`,
      [limits.tenantId],
    );
    return found.rows;
  }

  async function told(): Promise<void> {
    await eventually('all is told', () => money.module.get(ProjectionQueue).depth === 0 || undefined);
  }

  it('of one tenant wait for its locked rows, and those of the others do not wait with them', async () => {
    const other = await createTenant(money, nanoUsd(1_000n));
    await reserve(money, other, 1n);
    await lock(limits.tenantId);
    const startedMs = performance.now();
    const blocked = [1, 2, 3].map(() => reserve(money, limits, 1n));
    const free = await Promise.all([reserve(money, other, 1n), reserve(money, other, 1n)]);
    expect(free.map(({ admitted }) => admitted)).toEqual([true, true]);
    const more = await reserve(money, other, 1n);
    expect(more.admitted).toBe(true);
    expect(performance.now() - startedMs).toBeLessThan(WAIT_MS - 200);
    await onlooker.query('rollback');
    expect((await Promise.all(blocked)).map(({ admitted }) => admitted)).toEqual([true, true, true]);
  });

  it('are given up after the time that a call waits, and leave nothing', async () => {
    await lock(limits.tenantId);
    const request = holdRequest(limits, 600n);
    const startedMs = performance.now();
    const outcome = await money.store.reserve(request).catch((error: unknown) => error);
    expect(outcome).toBeInstanceOf(QuotaUnavailableError);
    expect(performance.now() - startedMs).toBeLessThan(WAIT_MS + 200);
    await onlooker.query('rollback');
    if (outcome instanceof QuotaUnavailableError && outcome.mayHold)
      money.charges.abandonReserve(limits.tenantId, request.holdId);
    await told();
    expect(await rows()).not.toContainEqual({ status: 'PENDING', reason_code: null });
    expect(await reserve(money, limits, 1_000n)).toMatchObject({ admitted: true });
  });

  it('whose answer was lost are found standing and voided', async () => {
    await reserve(money, limits, 0n);
    wire.setMode('lose_replies');
    const request = holdRequest(limits, 600n);
    await expect(money.store.reserve(request)).rejects.toMatchObject({ mayHold: true });
    expect(await rows()).toContainEqual({ status: 'PENDING', reason_code: null });
    money.charges.abandonReserve(limits.tenantId, request.holdId);
    wire.setMode('pass');
    wire.reset();
    await told();
    expect(await rows()).toContainEqual({ status: 'VOIDED', reason_code: 'HOLD_RELEASED' });
    expect(await reserve(money, limits, 1_000n)).toMatchObject({ admitted: true });
  });

  it('that arrive after they were given up collide with the row that was laid in their way', async () => {
    const request = holdRequest(limits, 600n);
    await money.store.release(limits.tenantId, [request.holdId]);
    await expect(money.store.reserve(request)).rejects.toThrow(/ended already/);
    expect(await reserve(money, limits, 1_000n)).toMatchObject({ admitted: true });
  });

  it('give back an admitted hold that nobody uses, and leave an ended charge as it is', async () => {
    const outcome = await reserve(money, limits, 600n);
    if (!outcome.admitted) throw new Error('refused');
    const { holdId } = outcome.hold;
    await money.store.release(limits.tenantId, [holdId]);
    await money.store.release(limits.tenantId, [holdId]);
    expect(await rows()).toEqual([{ status: 'VOIDED', reason_code: 'HOLD_RELEASED' }]);
    await onlooker.query(`update billing_transaction set status = 'COMMITTED', reason_code = null where id = $1`, [
      holdId,
    ]);
    await money.store.release(limits.tenantId, [holdId]);
    expect(await rows()).toEqual([{ status: 'COMMITTED', reason_code: null }]);
  });

  it('that have been ended leave nothing to be given back, and nobody waits for a lock to find that out', async () => {
    const charge = await openCharge(money, limits, 600n);
    await charge.void({ reasonCode: 'TEST', endReason: 'failed' });
    await told();
    await lock(limits.tenantId);
    await money.store.release(limits.tenantId, [charge.held.holdId]);
    await expect(money.store.release(limits.tenantId, [charge.held.holdId, newId()])).rejects.toThrow(
      QuotaUnavailableError,
    );
    await onlooker.query('rollback');
    expect(await rows()).toEqual([{ status: 'VOIDED', reason_code: 'TEST' }]);
  });

  it('that Postgres can never take are refused alone', async () => {
    const bad = holdRequest(limits, 1n);
    const outcomes = await Promise.allSettled([
      reserve(money, limits, 1n),
      money.store.reserve({ ...bad, pending: { ...bad.pending, channel: 'no such channel' } }),
      reserve(money, limits, 1n),
      reserve(money, { ...limits, tenantId: newId() }, 1n),
      reserve(money, limits, 1n),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'fulfilled',
      'rejected',
      'fulfilled',
    ]);
  });

  it('of an epoch that is over are made again in the current one', async () => {
    const epochs = money.module.get(EpochAuthority);
    await onlooker.query(`alter table quota_authority disable trigger quota_authority_changed`);
    await onlooker.query(`update quota_authority set epoch = epoch + 1`);
    const before = epochs.postgresEpoch ?? 0n;
    expect(await reserve(money, limits, 1n)).toMatchObject({ admitted: true, hold: { epoch: before + 1n } });
    await onlooker.query(`alter table quota_authority enable trigger quota_authority_changed`);
  });

  it('never change who decides without an epoch of its own', async () => {
    await expect(onlooker.query(`update quota_authority set mode = 'redis'`)).rejects.toThrow(
      /together with the epoch/,
    );
  });

  it('cost the same work however many charges the tenant has had', async () => {
    const work = async (): Promise<number> => {
      const { rows: found } = await onlooker.query<{ calls: string }>(
        `select coalesce(sum(idx_tup_fetch), 0) as calls from pg_stat_user_tables where relname = 'billing_transaction'`,
      );
      return Number(found[0]?.calls);
    };
    await onlooker.query(`update gateway_process set oldest_open_id = $1`, [newId()]);
    await onlooker.query(
      `insert into billing_transaction (id, tenant_id, trace_id, type, status, channel, ended_at)
       select i, $1, i, 'charge', 'COMMITTED', 'external', now()
         from (select ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid as i from generate_series(1, 5000) n) s`,
      [limits.tenantId],
    );
    await onlooker.query(`select pg_stat_clear_snapshot()`);
    const before = await work();
    for (let call = 0; call < 20; call += 1) await reserve(money, limits, 1n);
    await eventually('the statistics are written', async () => {
      await onlooker.query(`select pg_stat_clear_snapshot()`);
      return (await work()) > before || undefined;
    });
    expect((await work()) - before).toBeLessThan(2_000);
  });
});
