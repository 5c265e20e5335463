import { Client } from 'pg';
import { GatewayProcess } from '../../src/billing/process/gateway-process';
import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import { ChargeWriter } from '../../src/billing/writer/charge-writer';
import { floorOfTime } from '../../src/kernel/ids';
import { nanoUsd } from '../../src/kernel/money';
import { holdsKey, quotaKey, tenantsOfProcessKey } from '../../src/quota/quota-keys';
import { DeadCharges } from '../../src/sync/dead-charges';
import type { HoldSweeper } from '../../src/sync/hold-sweeper';
import {
  createTenant,
  holdRequest,
  type MoneyProcess,
  ONE_NANO_A_TOKEN,
  openCharge,
  outputOf,
  reserve,
} from '../support/money-harness';
import { usedIn } from '../support/projection';
import {
  DEAD_AFTER_MS,
  expectInvariants,
  idOf,
  ManualClock,
  openSweepStage,
  statusOfCharge,
  statusOfProcess,
  sweeperOf,
  type SweepStage,
} from './hold-sweeper-stage';

/** Watermarks before and behind every row. */
const FIRST_ID = floorOfTime(0);
const LAST_ID = 'ffffffff-ffff-ffff-ffff-ffffffffffff';

describe('the hold sweeper', () => {
  let stage: SweepStage;
  let dead: MoneyProcess;
  let living: MoneyProcess;
  let sweeper: HoldSweeper;
  const clock = new ManualClock();

  beforeEach(async () => {
    stage = await openSweepStage();
    dead = await stage.start();
    living = await stage.start();
    sweeper = sweeperOf(living, clock);
  });

  afterEach(async () => {
    jest.restoreAllMocks();
    await stage.close();
  });

  const unhurried = { patienceMs: 60_000, signal: new AbortController().signal };

  /** Declares the process dead as its sweeper does, and lets the other sweep when it is time for another look. */
  async function sweep(): Promise<void> {
    await living.pool.query(`update gateway_process set status = 'dead' where id = $1`, [idOf(dead)]);
    clock.pass(DEAD_AFTER_MS);
    await sweeper.sweep();
  }

  it('voids what a dead process left open, and touches nothing of a living one', async () => {
    const limits = await createTenant(dead, nanoUsd(1_000n));
    const left = await openCharge(dead, limits, 300n);
    const alive = await openCharge(living, limits, 200n);
    expect([await left.durable(), await alive.durable()]).toEqual([undefined, undefined]);
    await sweep();
    expect(await statusOfCharge(living, left.held.holdId)).toBe('VOIDED');
    expect(await statusOfCharge(living, alive.held.holdId)).toBe('PENDING');
    expect(await living.redis.client.hget(quotaKey(limits.tenantId), 'held')).toBe('200');
    await alive.settle(outputOf(200));
    await living.module.get(ProjectionQueue).drain(15_000);
    await expectInvariants(living);
  });

  it('gives a hold without a row a VOIDED row first, so that a late insert collides', async () => {
    const limits = await createTenant(dead, nanoUsd(1_000n));
    const outcome = await reserve(dead, limits, 300n);
    if (!outcome.admitted) throw new Error('refused');
    await sweep();
    expect(await statusOfCharge(living, outcome.hold.holdId)).toBe('VOIDED');
    expect(await living.redis.client.hlen(holdsKey(limits.tenantId))).toBe(0);
    await expectInvariants(living);
  });

  it('finishes the projection of a charge that was committed but never applied', async () => {
    const limits = await createTenant(dead, nanoUsd(1_000n));
    const charge = await openCharge(dead, limits, 300n);
    const entry = await dead.redis.client.hget(holdsKey(limits.tenantId), charge.held.holdId);
    await charge.settle(outputOf(10));
    await dead.module.get(ProjectionQueue).drain(15_000);
    // As if the process had died between the commit and telling Redis.
    await dead.redis.client.hset(holdsKey(limits.tenantId), charge.held.holdId, entry ?? '');
    await dead.redis.client.hset(quotaKey(limits.tenantId), 'held', '300', 'posted', '1000', 'version', '1');
    await sweep();
    expect(await living.redis.client.hmget(quotaKey(limits.tenantId), 'held', 'posted', 'version')).toEqual([
      '0',
      '990',
      '2',
    ]);
    await expectInvariants(living);
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
    await dead.module.get(ProjectionQueue).drain(15_000);
    await expectInvariants(living);
  });

  it('a paused process that finds itself declared dead opens nothing more, and holds nothing for what it refuses', async () => {
    const limits = await createTenant(dead, nanoUsd(1_000n));
    await living.pool.query(`update gateway_process set status = 'dead' where id = $1`, [idOf(dead)]);
    await dead.module.get(GatewayProcess).writeBeat();
    await expect(openCharge(dead, limits, 300n)).rejects.toThrow('BILLING_SERVICE_ERROR');
    await dead.module.get(ProjectionQueue).drain(15_000);
    expect(await living.redis.client.hlen(holdsKey(limits.tenantId))).toBe(0);
    expect(await living.redis.client.hget(quotaKey(limits.tenantId), 'held')).toBe('0');
    await expectInvariants(living);
  });

  it('two sweepers of one process at once end each charge once, and give each request back once', async () => {
    const limits = await createTenant(dead, nanoUsd(100_000n), { dailyQuota: 1_000 });
    const kept = await openCharge(living, limits, 100n);
    const pending = await Promise.all(Array.from({ length: 40 }, () => openCharge(dead, limits, 100n)));
    await Promise.all([kept, ...pending].map((charge) => charge.durable()));
    for (let at = 0; at < 40; at += 1) await reserve(dead, limits, 100n);
    const third = await stage.start();
    const passes = await Promise.all(
      [living, third].map((process) =>
        process.module.get(DeadCharges).sweep({ processId: idOf(dead), oldestOpenId: FIRST_ID, ...unhurried }),
      ),
    );
    const sumOf = (what: 'voided' | 'orphaned' | 'refused'): number =>
      passes.reduce((sum, pass) => sum + pass[what], 0);
    expect([sumOf('voided'), sumOf('orphaned'), sumOf('refused')]).toEqual([40, 40, 0]);
    const { rows } = await living.pool.query(
      `select status, count(*)::int as n from billing_transaction where type = 'charge' group by status order by status`,
    );
    expect(rows).toEqual([
      { status: 'PENDING', n: 1 },
      { status: 'VOIDED', n: 80 },
    ]);
    expect(await living.redis.client.hget(quotaKey(limits.tenantId), 'held')).toBe('100');
    expect(await usedIn(living.redis.client, limits.tenantId, 'day')).toBe('1');
    await expectInvariants(living);
  });

  it('voids a PENDING row that the look at the rows has missed before it releases its hold', async () => {
    const limits = await createTenant(dead, nanoUsd(1_000n));
    const charge = await openCharge(dead, limits, 300n);
    await charge.durable();
    // As if the row had been inserted behind the page that was read.
    const task = { processId: idOf(dead), oldestOpenId: LAST_ID, ...unhurried };
    const pass = await living.module.get(DeadCharges).sweep(task);
    expect(pass).toEqual({ charged: 0, voided: 1, orphaned: 0, finished: 0, refused: 0, sawHolds: true });
    expect(await statusOfCharge(living, charge.held.holdId)).toBe('VOIDED');
    expect(await living.redis.client.hlen(holdsKey(limits.tenantId))).toBe(0);
  });

  it('settles a hold whose charge was committed while its VOIDED row was on its way', async () => {
    const limits = await createTenant(dead, nanoUsd(1_000n), { dailyQuota: 10 });
    const request = holdRequest(limits, 300n);
    const outcome = await dead.store.reserve(request);
    if (!outcome.admitted) throw new Error('refused');
    // The process was only paused: it commits, and dies before the projection hears of it.
    jest.spyOn(dead.module.get(ProjectionQueue), 'settle').mockReturnValue(undefined);
    const writer = living.module.get(ChargeWriter);
    const write = writer.write.bind(writer);
    jest.spyOn(writer, 'write').mockImplementation(async (row) => {
      const charge = dead.charges.begin(outcome.hold, request, ONE_NANO_A_TOKEN);
      if ('code' in charge) throw new Error('refused');
      await charge.settle(outputOf(10));
      return write(row);
    });
    await sweep();
    expect(await statusOfCharge(living, outcome.hold.holdId)).toBe('COMMITTED');
    expect(await living.redis.client.hmget(quotaKey(limits.tenantId), 'held', 'posted', 'version')).toEqual([
      '0',
      '990',
      '2',
    ]);
    expect(await usedIn(living.redis.client, limits.tenantId, 'day')).toBe('1');
    await expectInvariants(living);
  });

  it('releases what a rebuilt projection holds, though the announcement of its tenant is lost', async () => {
    const limits = await createTenant(dead, nanoUsd(1_000n));
    const charge = await openCharge(dead, limits, 300n);
    await charge.durable();
    await living.redis.client.del(tenantsOfProcessKey(idOf(dead)));
    // The rows are ended while Redis cannot be asked; the hold waits for it.
    const isAway = jest.spyOn(living.redis, 'isReady', 'get').mockReturnValue(false);
    await sweep();
    expect(await statusOfCharge(living, charge.held.holdId)).toBe('VOIDED');
    expect(await living.redis.client.hlen(holdsKey(limits.tenantId))).toBe(1);
    isAway.mockRestore();
    // By another one: what the first sweeper remembers may have died with it.
    const third = await stage.start();
    await sweeperOf(third, clock).sweep();
    expect(await living.redis.client.hlen(holdsKey(limits.tenantId))).toBe(0);
    await expectInvariants(living);
  });

  it('loses nothing where Redis fails in the middle: the next round finds what is left', async () => {
    const limits = await createTenant(dead, nanoUsd(1_000n));
    await (await openCharge(dead, limits, 300n)).durable();
    const release = jest.spyOn(living.store, 'release').mockRejectedValueOnce(new Error('Redis did not answer'));
    await sweep();
    expect(release).toHaveBeenCalledTimes(1);
    expect(await living.redis.client.hlen(holdsKey(limits.tenantId))).toBe(1);
    expect(await statusOfProcess(living, idOf(dead))).toBe('dead');
    await sweep();
    expect(await living.redis.client.hlen(holdsKey(limits.tenantId))).toBe(0);
    await expectInvariants(living);
  });

  it('a row that Postgres does not let end keeps its hold, and keeps nobody else from being ended', async () => {
    const limits = await createTenant(dead, nanoUsd(1_000n));
    const [stuck, other] = [await openCharge(dead, limits, 300n), await openCharge(dead, limits, 200n)];
    await Promise.all([stuck.durable(), other.durable()]);
    const withoutRow = await reserve(dead, limits, 100n);
    if (!withoutRow.admitted) throw new Error('refused');
    const owner = new Client({ connectionString: stage.database.url });
    await owner.connect();
    await owner.query(`
      create function refuse_one() returns trigger language plpgsql as
        $$ begin raise exception 'stuck' using errcode = '23514'; end $$;
      create trigger refuse_one before update on billing_transaction
        for each row when (old.id = '${stuck.held.holdId}') execute function refuse_one()`);
    await sweep();
    await sweep();
    const statuses = [stuck.held.holdId, other.held.holdId, withoutRow.hold.holdId].map((holdId) =>
      statusOfCharge(living, holdId),
    );
    expect(await Promise.all(statuses)).toEqual(['PENDING', 'VOIDED', 'VOIDED']);
    expect(await living.redis.client.hkeys(holdsKey(limits.tenantId))).toEqual([stuck.held.holdId]);
    expect(await statusOfProcess(living, idOf(dead))).toBe('dead');
    await expectInvariants(living);
    await owner.query(`drop trigger refuse_one on billing_transaction`);
    await owner.end();
    await sweep();
    expect(await statusOfCharge(living, stuck.held.holdId)).toBe('VOIDED');
    await expectInvariants(living);
  });
});
