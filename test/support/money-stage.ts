import { Redis } from 'ioredis';
import { setTimeout as delay } from 'node:timers/promises';
import { Pool } from 'pg';
import { adminCall, type AdminAccess } from '../factories/admin-client';
import { createPaidModel, type PaidModel } from '../factories/paid-model';
import { startSimulator, type Simulator } from '../simulator/simulator';
import { ClientLog } from './client-log';
import { createTestDatabase, type TestDatabase } from './test-database';
import { startGateway, type TestGateway } from './test-gateway';
import { startTestRedis, type TestRedis } from './test-redis';
import { compareLogs, type KnownPrice, readLedger, type ThreeLogsVerdict } from './three-logs';

/** Input 1 USD and output 2 USD a million tokens, and 0.0001 USD a request: every part of the formula shows. */
export const STAGE_PRICE: KnownPrice = { input: 1_000_000_000n, output: 2_000_000_000n, perRequest: 100_000n };
const STAGE_PRICE_FIELDS = { input_usd_per_mtok: '1', output_usd_per_mtok: '2', per_request_usd: '0.0001' };

const QUIET_WITHIN_MS = 30_000;
/** Redis decides again this soon after every gateway sees it, and a circuit that has opened is tried again this soon. */
const IMPATIENT = { QUOTA_HAND_BACK_MS: '500', BILLING_CIRCUIT_OPEN_MS: '1000' };
const POLL_MS = 50;

/** Real servers of one test file: Postgres database, Redis, simulator, and as many gateway processes as it starts. */
export class MoneyStage {
  readonly clients = new ClientLog();
  private readonly gateways: TestGateway[] = [];

  private constructor(
    readonly database: TestDatabase,
    readonly redis: TestRedis,
    readonly simulator: Simulator,
    /** The test's own connections, which no fault ends. */
    readonly pool: Pool,
  ) {}

  static async open(): Promise<MoneyStage> {
    const [database, redis, simulator] = await Promise.all([createTestDatabase(), startTestRedis(), startSimulator()]);
    const pool = new Pool({ connectionString: database.url, application_name: TEST_APPLICATION, max: 4 });
    pool.on('error', () => undefined);
    return new MoneyStage(database, redis, simulator, pool);
  }

  async startGateway(env: Readonly<Record<string, string>> = {}): Promise<TestGateway> {
    const gateway = await startGateway({
      databaseUrl: this.database.url,
      redisUrl: this.redis.url,
      env: { ...IMPATIENT, ...env },
    });
    this.gateways.push(gateway);
    return gateway;
  }

  /** A tenant with a key, and a model of STAGE_PRICE (or `price`) that the simulator serves. */
  paidModel(
    access: AdminAccess,
    options: { model?: string; tenant?: object; price?: object } = {},
  ): Promise<PaidModel> {
    return createPaidModel(access, {
      baseUrl: `${this.simulator.url}/v1`,
      ...options,
      price: options.price ?? STAGE_PRICE_FIELDS,
    });
  }

  /** Polls until nothing is open: no PENDING row, and no hold in Redis. */
  async quiet(tenantIds: readonly string[], withinMs = QUIET_WITHIN_MS): Promise<void> {
    let open = { pending: 0, holds: 0 };
    await until(
      async () => {
        // A server that is away says nothing about what is open.
        open = await this.openOf(tenantIds).catch(() => ({ pending: NaN, holds: NaN }));
        return open.pending === 0 && open.holds === 0;
      },
      withinMs,
      () => `still open after ${withinMs} ms: ${open.pending} PENDING rows, ${open.holds} holds in Redis`,
    );
  }

  /** Polls until Redis decides (after an outage of it Postgres does, for a while). */
  async redisDecides(withinMs = QUIET_WITHIN_MS): Promise<void> {
    await until(
      async () => (await this.authority()).mode === 'redis',
      withinMs,
      () => `Redis was not handed back to within ${withinMs} ms`,
    );
  }

  /** Who decides over quota now, and since which epoch. */
  async authority(): Promise<{ readonly mode: string; readonly epoch: string }> {
    const { rows } = await this.pool.query<{ mode: string; epoch: string }>('select mode, epoch from quota_authority');
    return rows[0] ?? { mode: 'none', epoch: '' };
  }

  /** What is open now, in the ledger and in the projection, where the tenant has a current one. */
  async openOf(tenantIds: readonly string[]): Promise<{ pending: number; holds: number }> {
    const { rows } = await this.pool.query<{ n: string }>(
      `select count(*) as n from billing_transaction where status = 'PENDING' and tenant_id = any ($1)`,
      [tenantIds],
    );
    const { mode, epoch } = await this.authority();
    const openIn = async (redis: Redis, tenantId: string): Promise<number> => {
      const isCurrent = (await redis.hget(`tg:{${tenantId}}:quota`, 'epoch')) === epoch;
      return isCurrent ? redis.hlen(`tg:{${tenantId}}:holds`) : 0;
    };
    const holds =
      mode === 'redis'
        ? await this.withRedis((redis) => Promise.all(tenantIds.map((tenantId) => openIn(redis, tenantId))))
        : [];
    return { pending: Number(rows[0]?.n ?? 0), holds: holds.reduce((sum, count) => sum + count, 0) };
  }

  /** The independent check over every call the clients made, for the tenants given. */
  async threeLogs(tenantIds: readonly string[], price: KnownPrice = STAGE_PRICE): Promise<ThreeLogsVerdict> {
    const rows = await readLedger(this.pool, tenantIds);
    return compareLogs({ clients: this.clients.records, served: this.simulator.served(), rows, price });
  }

  /** Posted nano-USD of the tenant's wallet and overrun, in the ledger. */
  async posted(tenantId: string): Promise<{ wallet: bigint; overrun: bigint }> {
    const { rows } = await this.pool.query<{ name: string; posted_nano_usd: string }>(
      `select name, posted_nano_usd from ledger_account where tenant_id = $1`,
      [tenantId],
    );
    const of = (name: string): bigint => BigInt(rows.find((row) => row.name === name)?.posted_nano_usd ?? 0);
    return { wallet: of('wallet'), overrun: of('overrun') };
  }

  /** posted as Redis has it; undefined where the tenant is cold. */
  async projected(tenantId: string): Promise<bigint | undefined> {
    const posted = await this.withRedis((redis) => redis.hget(`tg:{${tenantId}}:quota`, 'posted'));
    return posted === null ? undefined : BigInt(posted);
  }

  async withRedis<T>(work: (redis: Redis) => Promise<T>): Promise<T> {
    const redis = new Redis(this.redis.url, { maxRetriesPerRequest: 2 });
    redis.on('error', () => undefined);
    try {
      return await work(redis);
    } finally {
      redis.disconnect();
    }
  }

  async close(): Promise<void> {
    this.clients.close();
    await Promise.all(this.gateways.map((gateway) => gateway.kill9()));
    await this.pool.end();
    await Promise.all([this.simulator.close(), this.redis.stop()]);
    await this.database.drop();
  }
}

export const TEST_APPLICATION = 'the test itself';

interface InvariantAnswer {
  readonly data: readonly { readonly id: string; readonly verdict: string; readonly examples: readonly string[] }[];
}

/**
 * What the gateway's own proof says of I1–I6 and I8 once nothing is in motion: `{I1: 'holds', …}`, with the examples of what
 * does not hold.
 */
export async function invariantsOf(access: AdminAccess, withinMs = 10_000): Promise<Record<string, unknown>> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const { data } = (await adminCall(access, 'GET', 'invariants')) as InvariantAnswer;
    const isSettled = data.every(({ verdict }) => verdict === 'holds');
    if (isSettled || performance.now() > deadline) {
      return Object.fromEntries(
        data.map(({ id, verdict, examples }) => [id, verdict === 'holds' ? verdict : examples]),
      );
    }
    await delay(POLL_MS);
  }
}

export const ALL_HOLD = Object.fromEntries(['I1', 'I2', 'I3', 'I4', 'I5', 'I6', 'I8'].map((id) => [id, 'holds']));

/** Polls; throws with what `explain` says when the deadline passes. */
export async function until(
  condition: () => Promise<boolean> | boolean,
  withinMs: number,
  explain: () => string,
): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(explain());
    await delay(POLL_MS);
  }
}

/** Random numbers that a printed seed brings back. */
export class Seeded {
  private state: number;

  constructor(readonly seed: number) {
    this.state = seed >>> 0;
  }

  /** An integer from `least` to `most`, both included. (mulberry32) */
  integer(least: number, most: number): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return least + (((mixed ^ (mixed >>> 14)) >>> 0) % (most - least + 1));
  }

  pick<T>(choices: readonly T[]): T {
    const chosen = choices[this.integer(0, choices.length - 1)];
    if (chosen === undefined) throw new Error('nothing to choose from');
    return chosen;
  }
}

/** From the environment, so that a printed run can be repeated; else by the clock. */
export function firstSeed(): number {
  return Number(process.env.TEST_SEED ?? Date.now() % 1_000_000);
}
