import { Logger } from '@nestjs/common';
import { Pool } from 'pg';
import { Checkpoints } from '../../src/billing/settlement/checkpoints';
import type { OpenCharge } from '../../src/billing/settlement/open-charge';
import { checkpointOf } from '../../src/billing/writer/checkpoint';
import { nanoUsd } from '../../src/kernel/money';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import {
  createTenant,
  deliveredOf,
  type MoneyProcess,
  openCharge,
  outputOf,
  startMoneyProcess,
} from '../support/money-harness';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { startTestRedis, type TestRedis } from '../support/test-redis';

describe('checkpoints of open streams', () => {
  let database: TestDatabase;
  let redis: TestRedis;
  let money: MoneyProcess;
  /** The test's own connections. */
  let onlooker: Pool;
  let checkpoints: Checkpoints;
  let limits: CallerLimits;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
    onlooker = new Pool({ connectionString: database.url, max: 2 });
    money = await startMoneyProcess({ databaseUrl: database.url, redisUrl: redis.url });
    checkpoints = money.module.get(Checkpoints);
  });

  afterAll(async () => {
    await money.close();
    await Promise.all([redis.stop(), onlooker.end()]);
    await database.drop();
  });

  beforeEach(async () => {
    limits = await createTenant(money, nanoUsd(1_000_000n));
  });

  afterEach(() => {
    jest.restoreAllMocks();
  });

  /** A stream that has delivered what `tokens` says, as often as it is asked. */
  async function openStream(tokens: () => number): Promise<OpenCharge> {
    const charge = await openCharge(money, limits, 1_000n);
    expect(await charge.durable()).toBeUndefined();
    charge.checkpointFrom(() => (tokens() === 0 ? undefined : deliveredOf(tokens())));
    return charge;
  }

  async function kept({ held }: OpenCharge): Promise<unknown> {
    const { rows } = await onlooker.query<{ checkpoint: unknown }>(
      'select checkpoint from billing_transaction where id = $1',
      [held.holdId],
    );
    return rows[0]?.checkpoint;
  }

  const statements = (): jest.SpyInstance => jest.spyOn(money.pool, 'query');

  it('keep in one statement what each has delivered, and nothing of one that has delivered nothing', async () => {
    const streams = await Promise.all([3, 0, 5].map((tokens) => openStream(() => tokens)));
    const sent = statements();
    await checkpoints.write();
    expect(sent).toHaveBeenCalledTimes(1);
    expect(await Promise.all(streams.map(kept))).toEqual([
      checkpointOf(deliveredOf(3)),
      null,
      checkpointOf(deliveredOf(5)),
    ]);
    await Promise.all(streams.map((stream) => stream.settle(outputOf(5))));
  });

  it('are not written again where nothing came since, and are where something did', async () => {
    let delivered = 3;
    const stream = await openStream(() => delivered);
    await checkpoints.write();
    const sent = statements();
    await checkpoints.write();
    expect(sent).not.toHaveBeenCalled();
    delivered = 4;
    await checkpoints.write();
    expect(await kept(stream)).toEqual(checkpointOf(deliveredOf(4)));
    await stream.settle(outputOf(5));
  });

  it('are one statement at a time, however often a round is due', async () => {
    const stream = await openStream(() => 3);
    const sent = statements();
    await Promise.all([checkpoints.write(), checkpoints.write(), checkpoints.write()]);
    expect(sent).toHaveBeenCalledTimes(1);
    await stream.settle(outputOf(5));
  });

  it('wait for a row that does not stand yet', async () => {
    const stream = await openStream(() => 3);
    await onlooker.query(`delete from billing_transaction where id = $1`, [stream.held.holdId]);
    await checkpoints.write();
    expect(await kept(stream)).toBeUndefined();
    await onlooker.query(
      `insert into billing_transaction (id, tenant_id, trace_id, type, status, channel)
         values ($1, $2, $1, 'charge', 'PENDING', 'external')`,
      [stream.held.holdId, limits.tenantId],
    );
    await checkpoints.write();
    expect(await kept(stream)).toEqual(checkpointOf(deliveredOf(3)));
    await stream.settle(outputOf(5));
  });

  it('wait for nobody: a row that is being ended is left out, the others are written', async () => {
    const streams = await Promise.all([3, 5].map((tokens) => openStream(() => tokens)));
    const [locked, other] = streams;
    if (!locked || !other) throw new Error('two streams were opened');
    const ending = await onlooker.connect();
    await ending.query('begin');
    await ending.query('select 1 from billing_transaction where id = $1 for update', [locked.held.holdId]);
    await checkpoints.write();
    expect([await kept(locked), await kept(other)]).toEqual([null, checkpointOf(deliveredOf(5))]);
    await ending.query('rollback');
    ending.release();
    await checkpoints.write();
    expect(await kept(locked)).toEqual(checkpointOf(deliveredOf(3)));
    await Promise.all(streams.map((stream) => stream.settle(outputOf(5))));
  });

  it('leave a charge that has ended as it is', async () => {
    const stream = await openStream(() => 3);
    await onlooker.query(
      `update billing_transaction set status = 'VOIDED', ended_at = now(), end_reason = 'process_dead' where id = $1`,
      [stream.held.holdId],
    );
    await checkpoints.write();
    expect(await kept(stream)).toBeNull();
    await stream.void({ reasonCode: 'UPSTREAM_ERROR', endReason: 'failed' });
  });

  it('are skipped while Postgres is away, and written when it is back', async () => {
    const stream = await openStream(() => 3);
    statements().mockRejectedValueOnce(new Error('Connection terminated'));
    await checkpoints.write();
    expect(await kept(stream)).toBeNull();
    await checkpoints.write();
    expect(await kept(stream)).toEqual(checkpointOf(deliveredOf(3)));
    await stream.settle(outputOf(5));
  });

  it('are kept of the others where one cannot tell what it has delivered', async () => {
    const streams = await Promise.all([3, 5, 7].map((tokens) => openStream(() => tokens)));
    let isBroken = true;
    streams[1]?.checkpointFrom(() => {
      if (isBroken) throw new Error('broken');
      return deliveredOf(6);
    });
    const logged = jest.spyOn(Logger.prototype, 'error');
    await checkpoints.write();
    await checkpoints.write();
    expect(logged).toHaveBeenCalledTimes(1);
    const others = [checkpointOf(deliveredOf(3)), null, checkpointOf(deliveredOf(7))];
    expect(await Promise.all(streams.map(kept))).toEqual(others);
    isBroken = false;
    await checkpoints.write();
    expect(await Promise.all(streams.map(kept))).toEqual(others.with(1, checkpointOf(deliveredOf(6))));
    await Promise.all(streams.map((stream) => stream.settle(outputOf(5))));
  });

  it('cost a settle nothing: what was kept last says nothing of what is charged', async () => {
    const stream = await openStream(() => 3);
    await checkpoints.write();
    expect(await stream.settle(outputOf(7))).toMatchObject({ amount: 7n });
    const sent = statements();
    await checkpoints.write();
    expect(sent).not.toHaveBeenCalled();
  });
});
