import { cpSync, readdirSync, renameSync, rmSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import type { PaidModel } from '../factories/paid-model';
import { errorOf, type ClientRecord } from '../support/client-log';
import { extent } from '../support/extent';
import { ALL_HOLD, firstSeed, invariantsOf, MoneyStage, Seeded, TEST_APPLICATION, until } from '../support/money-stage';
import type { TestGateway } from '../support/test-gateway';
import { testState } from '../support/test-state';
import type { ThreeLogsVerdict } from '../support/three-logs';

const CLIENTS = 20;
const SEED = firstSeed();
const INITIAL_NANO_USD = 1_000_000_000_000n;
/** For so long every connection to Postgres is cut again and again. */
const CUT_FOR_SECONDS = extent(5, 60);

describe(`servers that go away under load (seed ${SEED})`, () => {
  let stage: MoneyStage;
  /** Two, so that they meet in the same tenant: whoever sees a fault first must not spend what the other holds. */
  let gateways: readonly TestGateway[];
  let gateway: TestGateway;
  const random = new Seeded(SEED);

  beforeAll(async () => {
    stage = await MoneyStage.open();
    gateway = await stage.startGateway();
    gateways = [gateway, await stage.startGateway()];
  }, 60_000);

  afterAll(() => stage.close(), 30_000);

  beforeEach(() => {
    stage.clients.records.length = 0;
  });

  function tenantWithMoney(): Promise<PaidModel> {
    const tenant = { initial_balance_usd: '1000', daily_quota: null, monthly_quota: null };
    return stage.paidModel(gateway, { tenant, model: `model-${random.integer(1, 1_000_000_000)}` });
  }

  /** Clients call without a pause while `fault` runs, and for a while after it; resolves when all is quiet. */
  async function under(paid: PaidModel, fault: () => Promise<void>): Promise<ThreeLogsVerdict> {
    const state = { isOver: false };
    const clients = Array.from({ length: CLIENTS }, async () => {
      while (!state.isOver) {
        const record = await callOnce(paid);
        // A refused client comes again soon, not at once.
        if (record.outcome !== 'answered') await delay(20);
      }
    });
    await until(
      () => stage.clients.count('answered') >= CLIENTS,
      20_000,
      () => 'no load before the fault',
    );
    await fault();
    const answered = stage.clients.count('answered');
    await until(
      () => stage.clients.count('answered') >= answered + 2 * CLIENTS,
      20_000,
      () => `no answers after the fault: ${JSON.stringify(stage.clients.statuses())}`,
    );
    state.isOver = true;
    await Promise.all(clients);
    await stage.quiet([paid.tenantId]);
    return stage.threeLogs([paid.tenantId]);
  }

  function callOnce(paid: PaidModel, script: object = {}): Promise<ClientRecord> {
    return stage.clients.call(random.pick(gateways).url, {
      key: paid.key,
      model: paid.model,
      isStream: random.integer(1, 2) === 1,
      fields: {
        x_simulate: {
          tokens: random.integer(1, 20),
          paceMs: random.integer(0, 10),
          promptTokens: random.integer(1, 9_999),
          ...script,
        },
      },
    });
  }

  async function expectNothingLost(paid: PaidModel, verdict: ThreeLogsVerdict): Promise<void> {
    expect(verdict.violations).toEqual([]);
    // Whoever is turned away is told so in a way that lets him come again.
    for (const record of stage.clients.records.filter(({ outcome }) => outcome === 'refused')) {
      expect({ status: record.status, retry: record.headers['x-should-retry'] }).toEqual({
        status: 503,
        retry: 'true',
      });
    }
    expect(stage.clients.count('unknown')).toBe(0);
    const { wallet, overrun } = await stage.posted(paid.tenantId);
    expect(wallet).toBe(INITIAL_NANO_USD - verdict.chargedNanoUsd);
    expect(overrun).toBe(0n);
    // The next call meets a projection that is right, rebuilt if it must be.
    await stage.redisDecides();
    const after = await callOnce(paid);
    expect(after.outcome).toBe('answered');
    await stage.quiet([paid.tenantId]);
    expect(await stage.projected(paid.tenantId)).toBe((await stage.posted(paid.tenantId)).wallet);
    for (const each of gateways) expect(await invariantsOf(each)).toEqual(ALL_HOLD);
  }

  function refusalCodes(): string[] {
    const refused = stage.clients.records.filter(({ outcome }) => outcome === 'refused');
    return [...new Set(refused.map((record) => String(errorOf(record).code)))].sort();
  }

  it('loses nothing when Redis is emptied again and again', async () => {
    const paid = await tenantWithMoney();
    const verdict = await under(paid, () => repeat(8, 250, () => stage.withRedis((redis) => redis.flushall())));
    await expectNothingLost(paid, verdict);
  }, 60_000);

  it('loses nothing when Redis is killed and comes back', async () => {
    const paid = await tenantWithMoney();
    const verdict = await under(paid, async () => {
      await stage.redis.kill9();
      const before = stage.clients.count('refused');
      await until(
        () => stage.clients.count('refused') > before,
        10_000,
        () => 'nobody noticed that Redis is away',
      );
      await stage.redis.restart();
    });
    await expectNothingLost(paid, verdict);
    expect(refusalCodes()).toEqual(['QUOTA_SERVICE_ERROR']);
  }, 60_000);

  it('loses nothing when Redis comes back without the end of its append-only file', async () => {
    const paid = await tenantWithMoney();
    const verdict = await under(paid, async () => {
      await stage.redis.kill9();
      const lost = truncateAppendOnlyFile(stage.redis.dataDir, random.integer(20, 80) / 100);
      expect(lost).toBeGreaterThan(0);
      await stage.redis.restart();
    });
    await expectNothingLost(paid, verdict);
  }, 60_000);

  it('loses nothing when Redis comes back with an old append-only file', async () => {
    const paid = await tenantWithMoney();
    const [now, old] = ['appendonlydir', 'appendonlydir.old'].map((name) => join(stage.redis.dataDir, name));
    if (now === undefined || old === undefined) throw new Error('no folder');
    const verdict = await under(paid, async () => {
      cpSync(now, old, { recursive: true });
      const before = stage.clients.count('answered');
      await until(
        () => stage.clients.count('answered') >= before + 5 * CLIENTS,
        20_000,
        () => 'no charges that the old file lacks',
      );
      await stage.redis.kill9();
      rmSync(now, { recursive: true });
      renameSync(old, now);
      await stage.redis.restart();
    });
    await expectNothingLost(paid, verdict);
  }, 60_000);

  it('loses nothing when Redis is away for long: Postgres decides, and hands back when it is there again', async () => {
    const paid = await tenantWithMoney();
    const verdict = await under(paid, async () => {
      await stage.redis.stop();
      await until(
        async () => (await stage.authority()).mode === 'postgres',
        20_000,
        () => 'nobody let Postgres decide',
      );
      const before = stage.clients.count('answered');
      await until(
        () => stage.clients.count('answered') >= before + 10 * CLIENTS,
        20_000,
        () => `no answers without Redis: ${JSON.stringify(stage.clients.statuses())}`,
      );
      await stage.redis.restart();
      await stage.redisDecides();
    });
    await expectNothingLost(paid, verdict);
  }, 60_000);

  it('does not notice that Redis forgets its scripts', async () => {
    const paid = await tenantWithMoney();
    const verdict = await under(paid, () => repeat(10, 200, () => stage.withRedis((redis) => redis.script('FLUSH'))));
    await expectNothingLost(paid, verdict);
    expect(stage.clients.count('refused')).toBe(0);
  }, 60_000);

  it(
    `loses nothing when every connection to Postgres is cut each 100 ms for ${CUT_FOR_SECONDS} seconds`,
    async () => {
      const paid = await tenantWithMoney();
      const verdict = await under(paid, () => repeat(CUT_FOR_SECONDS * 10, 100, () => cutConnections(stage)));
      await expectNothingLost(paid, verdict);
      expect(
        refusalCodes().filter((code) => code !== 'BILLING_SERVICE_ERROR' && code !== 'QUOTA_SERVICE_ERROR'),
      ).toEqual([]);
    },
    60_000 + CUT_FOR_SECONDS * 2_000,
  );

  it('lets running streams end while Postgres is away, and charges them when it is back', async () => {
    const paid = await tenantWithMoney();
    const streams = Array.from({ length: CLIENTS }, () =>
      stage.clients.start(gateway.url, {
        key: paid.key,
        model: paid.model,
        isStream: true,
        fields: { x_simulate: { tokens: 10, paceMs: 100 } },
      }),
    );
    await until(
      () => streams.every((stream) => stream.bytesSoFar() > 0),
      20_000,
      () => 'not every stream runs',
    );
    const records = await withoutPostgres(stage, async () => {
      const ended = await Promise.all(streams.map((stream) => stream.done));
      // A new call meanwhile is told in time that it cannot be charged.
      const startedMs = performance.now();
      const refused = await callOnce(paid);
      expect(errorOf(refused).code).toMatch(/^(BILLING|QUOTA)_SERVICE_ERROR$/);
      expect(refused.status).toBe(503);
      expect(performance.now() - startedMs).toBeLessThan(6_000);
      return ended;
    });
    expect(records.map(({ outcome }) => outcome)).toEqual(Array.from({ length: CLIENTS }, () => 'answered'));
    await stage.quiet([paid.tenantId]);
    const verdict = await stage.threeLogs([paid.tenantId]);
    expect(verdict.committed).toBe(CLIENTS);
    await expectNothingLost(paid, verdict);
  }, 60_000);
});

async function repeat(times: number, everyMs: number, work: () => Promise<unknown>): Promise<void> {
  for (let round = 0; round < times; round += 1) {
    await work();
    await delay(everyMs);
  }
}

/** Takes a part of the bytes off the end of what Redis would read first; answers how many. */
function truncateAppendOnlyFile(dataDir: string, part: number): number {
  const folder = join(dataDir, 'appendonlydir');
  const [last] = readdirSync(folder)
    .filter((name) => name.endsWith('.incr.aof'))
    .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }));
  if (last === undefined) throw new Error(`no append-only file in ${folder}`);
  const { size } = statSync(join(folder, last));
  const kept = Math.floor(size * (1 - part));
  truncateSync(join(folder, last), kept);
  return size - kept;
}

async function cutConnections(stage: MoneyStage): Promise<void> {
  await stage.pool.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid() and application_name <> $1`,
    [TEST_APPLICATION],
  );
}

/** The database takes nobody in, and everybody is put out, while `work` runs. */
async function withoutPostgres<T>(stage: MoneyStage, work: () => Promise<T>): Promise<T> {
  const name = new URL(stage.database.url).pathname.slice(1);
  const server = new Client({ connectionString: testState().serverUrl });
  await server.connect();
  try {
    await server.query(`alter database ${name} with allow_connections false`);
    await server.query(`select pg_terminate_backend(pid) from pg_stat_activity where datname = $1`, [name]);
    return await work();
  } finally {
    await server.query(`alter database ${name} with allow_connections true`);
    await server.end();
  }
}
