import { setTimeout as delay } from 'node:timers/promises';
import type { PaidModel } from '../factories/paid-model';
import type { ClientRecord } from '../support/client-log';
import { extent } from '../support/extent';
import { ALL_HOLD, firstSeed, invariantsOf, MoneyStage, Seeded, until } from '../support/money-stage';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy';
import type { TestGateway } from '../support/test-gateway';

const CLIENTS = 20;
const SEED = firstSeed();
const INITIAL_NANO_USD = 1_000_000_000_000n;
/** How often a wire loses what comes back over it, each time for 150 ms. */
const LOSSES = extent(4, 60);

/** One gateway reaches its servers over wires that break, another over whole ones; both charge the same tenant. */
describe(`wires that break under load (seed ${SEED})`, () => {
  let stage: MoneyStage;
  let redisWire: TcpProxy;
  let postgresWire: TcpProxy;
  let wired: TestGateway;
  let other: TestGateway;
  const random = new Seeded(SEED);

  beforeAll(async () => {
    stage = await MoneyStage.open();
    [redisWire, postgresWire] = await Promise.all([startTcpProxy(stage.redis.url), startTcpProxy(stage.database.url)]);
    wired = await stage.startGateway({ DATABASE_URL: postgresWire.url, REDIS_URL: redisWire.url });
    other = await stage.startGateway();
  }, 60_000);

  afterAll(async () => {
    await stage.close();
    await Promise.all([redisWire.close(), postgresWire.close()]);
  }, 30_000);

  beforeEach(() => {
    stage.clients.records.length = 0;
  });

  function call(gateway: TestGateway, paid: PaidModel): Promise<ClientRecord> {
    return stage.clients.call(gateway.url, {
      key: paid.key,
      model: paid.model,
      isStream: random.integer(1, 2) === 1,
      fields: {
        x_simulate: {
          tokens: random.integer(1, 15),
          paceMs: random.integer(0, 8),
          promptTokens: random.integer(1, 999),
        },
      },
    });
  }

  async function expectNothingLostUnder(fault: () => Promise<void>): Promise<void> {
    const tenant = { initial_balance_usd: '1000', daily_quota: null, monthly_quota: null };
    const paid = await stage.paidModel(other, { tenant, model: `model-${random.integer(1, 1_000_000_000)}` });
    const state = { isOver: false };
    const clients = Array.from({ length: CLIENTS }, async (_, index) => {
      while (!state.isOver) {
        const record = await call(index % 4 === 0 ? other : wired, paid);
        if (record.outcome !== 'answered') await delay(20);
      }
    });
    const answeredMore = async (count: number, why: string): Promise<void> => {
      const enough = stage.clients.count('answered') + count;
      await until(
        () => stage.clients.count('answered') >= enough,
        20_000,
        () => `${why}: ${JSON.stringify(stage.clients.statuses())}`,
      );
    };
    await answeredMore(2 * CLIENTS, 'no load before the fault');
    await fault();
    await answeredMore(5 * CLIENTS, 'no answers after the fault');
    state.isOver = true;
    await Promise.all(clients);
    await stage.quiet([paid.tenantId]);
    const verdict = await stage.threeLogs([paid.tenantId]);
    expect(verdict.violations).toEqual([]);
    expect(stage.clients.count('unknown')).toBe(0);
    const statuses = stage.clients.statuses();
    expect(Object.keys(statuses).sort()).toEqual(expect.arrayContaining(['200']));
    expect(Object.keys(statuses).filter((status) => status !== '200' && status !== '503')).toEqual([]);
    expect(await stage.posted(paid.tenantId)).toEqual({
      wallet: INITIAL_NANO_USD - verdict.chargedNanoUsd,
      overrun: 0n,
    });
    await stage.redisDecides();
    // What the gateway stopped asking it tries again with a call, after a while.
    await until(
      async () => (await call(wired, paid)).outcome === 'answered',
      10_000,
      () => 'the gateway whose wire broke does not answer again',
    );
    await stage.quiet([paid.tenantId]);
    expect(await stage.projected(paid.tenantId)).toBe((await stage.posted(paid.tenantId)).wallet);
    for (const gateway of [wired, other]) expect(await invariantsOf(gateway)).toEqual(ALL_HOLD);
  }

  async function broken(wire: TcpProxy, mode: 'silence' | 'lose_replies', forMs: number): Promise<void> {
    wire.setMode(mode);
    await delay(forMs);
    wire.setMode('pass');
    wire.reset();
  }

  it(
    'loses nothing when Redis acts but its replies are lost',
    async () => {
      await expectNothingLostUnder(async () => {
        for (let round = 0; round < LOSSES; round += 1) {
          await broken(redisWire, 'lose_replies', 150);
          await delay(250);
        }
      });
    },
    60_000 + LOSSES * 1_000,
  );

  it(
    'loses nothing when Postgres commits but its replies are lost',
    async () => {
      await expectNothingLostUnder(async () => {
        for (let round = 0; round < LOSSES; round += 1) {
          await broken(postgresWire, 'lose_replies', 150);
          await delay(250);
        }
      });
    },
    60_000 + LOSSES * 1_000,
  );

  it('loses nothing when nothing is heard of Redis for 3 seconds', async () => {
    await expectNothingLostUnder(() => broken(redisWire, 'silence', 3_000));
  }, 60_000);

  it('loses nothing when nothing is heard of Postgres for 4 seconds', async () => {
    await expectNothingLostUnder(() => broken(postgresWire, 'silence', 4_000));
  }, 60_000);

  it('loses nothing when Redis stands still for 6 seconds, in which Postgres decides', async () => {
    await expectNothingLostUnder(async () => {
      process.kill(stage.redis.pid, 'SIGSTOP');
      await servedByPostgres(6_000);
      process.kill(stage.redis.pid, 'SIGCONT');
    });
  }, 60_000);

  it('loses nothing when half of the gateways are cut off from Redis: all of them let Postgres decide', async () => {
    await expectNothingLostUnder(async () => {
      redisWire.setMode('silence');
      await servedByPostgres(6_000);
      redisWire.setMode('pass');
      redisWire.reset();
    });
  }, 60_000);

  /** For so long, in which both gateways must answer again though one of them, at least, has no Redis. */
  async function servedByPostgres(forMs: number): Promise<void> {
    const startedMs = performance.now();
    await until(
      async () => (await stage.authority()).mode === 'postgres',
      forMs,
      () => 'nobody let Postgres decide',
    );
    const before = stage.clients.count('answered');
    await until(
      () => stage.clients.count('answered') >= before + 3 * CLIENTS,
      forMs,
      () => `too few answers while Postgres decides: ${JSON.stringify(stage.clients.statuses())}`,
    );
    expect((await stage.authority()).mode).toBe('postgres');
    await delay(Math.max(0, startedMs + forMs - performance.now()));
  }
});
