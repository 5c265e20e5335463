import { Redis } from 'ioredis';
import { Client, type Pool, type PoolClient } from 'pg';
import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import { CLOCK, type Clock } from '../../src/kernel/clock';
import { newId } from '../../src/kernel/ids';
import { nanoUsd } from '../../src/kernel/money';
import { ScriptRegistry } from '../../src/platform/redis/script-registry';
import { EpochAuthority } from '../../src/quota/epoch-authority';
import { holdsKey, quotaKey } from '../../src/quota/quota-keys';
import { QuotaUnavailableError, type ReserveOutcome } from '../../src/quota/quota-store.port';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { TenantWarmUp } from '../../src/quota/warm-up/tenant-warm-up';
import { eventually } from '../support/eventually';
import {
  createTenant,
  holdRequest,
  type MoneyProcess,
  openCharge,
  outputOf,
  reserve,
  startMoneyProcess,
  withPatience,
} from '../support/money-harness';
import { usedIn } from '../support/projection';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { startTestRedis, type TestRedis } from '../support/test-redis';
import { testSettings } from '../support/test-settings';

describe('loading a tenant into Redis', () => {
  let database: TestDatabase;
  let redis: TestRedis;
  let money: MoneyProcess;
  let epochs: EpochAuthority;
  /** Connections that no fault of a test touches. */
  let operator: Client;
  let redisOperator: Redis;

  beforeEach(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
    money = await startProcess();
    epochs = money.module.get(EpochAuthority);
    operator = new Client({ connectionString: database.url });
    await operator.connect();
    redisOperator = new Redis(redis.url);
  });

  afterEach(async () => {
    await money.close();
    await operator.end();
    redisOperator.disconnect();
    await redis.stop();
    await database.drop();
  });

  async function startProcess(): Promise<MoneyProcess> {
    const servers = { databaseUrl: database.url, redisUrl: redis.url };
    return withPatience(await startMoneyProcess({ ...servers, processBeatMs: 3_600_000 }));
  }

  function warmUpOver(pool: Pool, scripts = money.module.get(ScriptRegistry)): TenantWarmUp {
    const [settings, clock] = [testSettings(), money.module.get<Clock>(CLOCK)];
    return new TenantWarmUp(pool, money.redis, scripts, epochs, settings, clock);
  }

  function epochOf(outcome: ReserveOutcome): bigint {
    if (!outcome.admitted) throw new Error(`refused: ${outcome.refusal.code}`);
    return outcome.hold.epoch;
  }

  async function currentEpoch(): Promise<bigint> {
    const { rows } = await operator.query<{ epoch: string }>(`select epoch from quota_authority`);
    return BigInt(rows[0]?.epoch ?? 0);
  }

  /** What the ledger does without telling Redis. */
  async function post(limits: CallerLimits, posted: bigint): Promise<void> {
    await operator.query(
      `update ledger_account set posted_nano_usd = $2, version = version + 1 where tenant_id = $1 and name = 'wallet'`,
      [limits.tenantId, posted.toString()],
    );
  }

  /** A pool over which the connection dies just before each COMMIT, as when Postgres restarts. */
  function losingCommits(): Pool {
    const dying = (client: PoolClient): PoolClient =>
      new Proxy(client, {
        get: (target, name) => {
          if (name !== 'query') {
            const value: unknown = Reflect.get(target, name, target);
            return typeof value === 'function' ? (value.bind(target) as unknown) : value;
          }
          return async (query: string, values?: unknown[]): Promise<unknown> => {
            if (query === 'commit') {
              const { rows } = await target.query<{ pid: number }>(`select pg_backend_pid() as pid`);
              await operator.query(`select pg_terminate_backend($1)`, [rows[0]?.pid]);
            }
            return target.query(query, values);
          };
        },
      });
    return { connect: async () => dying(await money.pool.connect()) } as unknown as Pool;
  }

  it('an install whose COMMIT was lost is used by nobody, and a later loss is still recognised', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    await expect(warmUpOver(losingCommits()).install(limits, epochs.current, performance.now())).rejects.toThrow(
      QuotaUnavailableError,
    );
    const first = await reserve(money, limits, 600n);
    await money.redis.client.flushall();
    // The first hold has no row yet: only another epoch keeps both from being charged.
    expect(epochOf(await reserve(money, limits, 600n))).toBeGreaterThan(epochOf(first));
    if (!first.admitted) return;
    const again = holdRequest(limits, 600n, { holdId: first.hold.holdId, isReadmission: true });
    expect(await money.store.reserve(again)).toMatchObject({ refusal: { code: 'QUOTA_BALANCE_EXCEEDED' } });
  });

  it('what was posted while an install was stuck in Redis counts when the install is carried out after all', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    // Another tenant first: the server has to know the script.
    await reserve(money, await createTenant(money, nanoUsd(1n)), 1n);
    // Reading is let through: the rebuild gets as far as its install.
    await redisOperator.call('CLIENT', 'PAUSE', '60000', 'WRITE');
    money.redis.client.options.commandTimeout = 1_000;
    await expect(warmUpOver(money.pool).install(limits, epochs.current, performance.now())).rejects.toThrow(
      QuotaUnavailableError,
    );
    await post(limits, 100n);
    await redisOperator.call('CLIENT', 'UNPAUSE');
    withPatience(money);
    expect(await reserve(money, limits, 101n)).toMatchObject({ refusal: { code: 'QUOTA_BALANCE_EXCEEDED' } });
    expect(await reserve(money, limits, 100n)).toMatchObject({ admitted: true });
  });

  /** quota_install as a process sends it that has died since; its transaction is gone, the call arrives all the same. */
  async function installLate(limits: CallerLimits, posted: bigint): Promise<void> {
    const { tenantId } = limits;
    const far = String(Date.now() + 60_000);
    const reply = await money.module.get(ScriptRegistry).bind('quota_install')(
      2,
      quotaKey(tenantId),
      holdsKey(tenantId),
      epochs.current.toString(),
      newId(),
      far,
      posted.toString(),
      '1',
    );
    expect(reply).toEqual(['INSTALLED']);
  }

  it('an install that no mark names is laid over', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    const before = await currentEpoch();
    await installLate(limits, 5_000n);
    expect(await reserve(money, limits, 1_001n)).toMatchObject({ refusal: { code: 'QUOTA_BALANCE_EXCEEDED' } });
    expect(await reserve(money, limits, 1_000n)).toMatchObject({ admitted: true });
    expect(await currentEpoch()).toBe(before);
  });

  /** A registry whose owner dies where it would activate. */
  function dyingBeforeActivation(): ScriptRegistry {
    const scripts = money.module.get(ScriptRegistry);
    const dying = Object.create(scripts) as ScriptRegistry;
    const dies = (): Promise<never> => Promise.reject(new Error('the process died'));
    dying.bind = (name) => (name === 'quota_activate' ? dies : scripts.bind(name));
    return dying;
  }

  it('an install that was committed but not activated is finished by the next one, with what ended meanwhile', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    const before = await currentEpoch();
    await expect(
      warmUpOver(money.pool, dyingBeforeActivation()).install(limits, before, performance.now()),
    ).rejects.toThrow();
    await post(limits, 400n);
    await money.store.settle(limits.tenantId, [], { posted: nanoUsd(400n), version: 2n });
    expect(await reserve(money, limits, 401n)).toMatchObject({ refusal: { code: 'QUOTA_BALANCE_EXCEEDED' } });
    expect(await reserve(money, limits, 400n)).toMatchObject({ admitted: true });
    expect(await currentEpoch()).toBe(before);
  });

  it('a late install over one that waits for its activation costs an epoch, and no money', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    const before = await currentEpoch();
    await expect(
      warmUpOver(money.pool, dyingBeforeActivation()).install(limits, before, performance.now()),
    ).rejects.toThrow();
    await installLate(limits, 5_000n);
    expect(await reserve(money, limits, 1_001n)).toMatchObject({ refusal: { code: 'QUOTA_BALANCE_EXCEEDED' } });
    expect(await currentEpoch()).toBe(before + 1n);
  });

  /** A registry over which somebody's late install arrives between two parts of an install. */
  function overtakenBetweenParts(limits: CallerLimits): ScriptRegistry {
    const scripts = money.module.get(ScriptRegistry);
    const overtaken = Object.create(scripts) as ScriptRegistry;
    overtaken.bind = (name) => {
      const script = scripts.bind(name);
      if (name !== 'quota_lay') return script;
      return async (...args) => {
        await installLate(limits, 5_000n);
        return script(...args);
      };
    };
    return overtaken;
  }

  it('an install that is overtaken between two of its parts lays no more of them, and is laid anew', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    const open = await openCharge(money, limits, 600n);
    expect(await open.durable()).toBeUndefined();
    await epochs.raiseBeyond(epochs.current, 'a test');
    const before = await currentEpoch();
    await expect(
      warmUpOver(money.pool, overtakenBetweenParts(limits)).install(limits, before, performance.now()),
    ).rejects.toThrow(QuotaUnavailableError);
    expect(await redisOperator.exists(holdsKey(limits.tenantId))).toBe(0);
    expect(await reserve(money, limits, 401n)).toMatchObject({ refusal: { code: 'QUOTA_BALANCE_EXCEEDED' } });
    expect(await reserve(money, limits, 400n)).toMatchObject({ admitted: true });
    expect(await currentEpoch()).toBe(before);
  });

  it('what an earlier projection was told too late ends nothing in the one that is being laid', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n), { dailyQuota: 10 });
    const [ended, open] = [await openCharge(money, limits, 100n), await openCharge(money, limits, 300n)];
    for (const charge of [ended, open]) expect(await charge.durable()).toBeUndefined();
    const told = money.store.settle.bind(money.store);
    await ended.settle(outputOf(40));
    await money.module.get(ProjectionQueue).drain(15_000);
    await epochs.raiseBeyond(epochs.current, 'a test');
    const scripts = money.module.get(ScriptRegistry);
    const bind = scripts.bind.bind(scripts);
    const parts: string[] = [];
    jest.spyOn(scripts, 'bind').mockImplementation((name) => {
      const script = bind(name);
      if (name !== 'quota_install' && name !== 'quota_lay') return script;
      return async (...args) => {
        const reply = await script(...args);
        parts.push(name);
        await told(limits.tenantId, [{ holdId: ended.held.holdId, amount: nanoUsd(40n), tokens: 40 }], {
          posted: nanoUsd(960n),
          version: 2n,
        });
        return reply;
      };
    });
    const outcome = await reserve(money, limits, 1n);
    jest.restoreAllMocks();
    expect(outcome).toMatchObject({ admitted: true });
    expect(parts).toEqual(['quota_install', 'quota_lay']);
    const fields = await redisOperator.hmget(quotaKey(limits.tenantId), 'posted', 'held', 'open');
    expect([...fields, await usedIn(redisOperator, limits.tenantId, 'day')]).toEqual(['960', '301', '2', '3']);
  });

  it('eight processes with 500 calls each on a cold tenant load it once a process, install it once and admit exactly what is paid for', async () => {
    // With counters, too: each process learns of them at most once.
    const limits = await createTenant(money, nanoUsd(100_000n), { dailyQuota: 1_000, monthlyQuota: 1_000 });
    const others = await Promise.all(Array.from({ length: 7 }, startProcess));
    const before = await currentEpoch();
    const installs = countInstalls([money, ...others]);
    try {
      const outcomes = await Promise.all(
        [money, ...others].flatMap((process) => Array.from({ length: 500 }, () => reserve(process, limits, 1_000n))),
      );
      expect(outcomes.filter(({ admitted }) => admitted)).toHaveLength(100);
      expect(installs).toEqual({ installed: 1, loads: [1, 1, 1, 1, 1, 1, 1, 1] });
      expect(await currentEpoch()).toBe(before);
    } finally {
      await Promise.all(others.map((process) => process.close()));
    }
  });

  it('the epoch is raised although each statement of a slow Postgres holds the fence for longer than a lock is waited for', async () => {
    const lost = epochs.current;
    await operator.query('begin');
    await operator.query('select pg_advisory_xact_lock_shared(quota_fence())');
    const raised = epochs.raiseBeyond(lost, 'a test').then(
      () => 'raised',
      (error: unknown) => String(error),
    );
    const isPatient = eventually('it waits', async () => {
      const { rows } = await money.pool.query(
        `select from pg_locks where locktype = 'advisory' and not granted and clock_timestamp() - waitstart > '1 s'`,
      );
      return rows.length > 0 || undefined;
    });
    expect(await Promise.race([isPatient, raised])).toBe(true);
    await operator.query('commit');
    expect(await raised).toBe('raised');
    expect(await currentEpoch()).toBe(lost + 1n);
  });

  it('a restored Postgres with an older epoch is raised beyond the one that living processes know', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    await epochs.raiseBeyond(10n, 'a test');
    expect(epochOf(await reserve(money, limits, 1n))).toBe(11n);
    await operator.query(`update quota_authority set epoch = 3`);
    const charge = await openCharge(money, limits, 100n);
    expect(await charge.durable()).toBeUndefined();
    expect(await currentEpoch()).toBe(12n);
    expect(epochOf(await reserve(money, limits, 900n))).toBe(12n);
    expect(await reserve(money, limits, 1n)).toMatchObject({ refusal: { code: 'QUOTA_BALANCE_EXCEEDED' } });
  });

  it('a restored Postgres with an older epoch is raised beyond the one that Redis has, for a process that never knew it', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n));
    await epochs.raiseBeyond(10n, 'a test');
    expect(epochOf(await reserve(money, limits, 1n))).toBe(11n);
    await operator.query(`alter table quota_authority disable trigger quota_authority_changed`);
    await operator.query(`update quota_authority set epoch = 3`);
    const fresh = await startProcess();
    try {
      expect(epochOf(await reserve(fresh, limits, 1_000n))).toBe(12n);
    } finally {
      await fresh.close();
    }
  });

  it('many tenants that are lost together raise the epoch once', async () => {
    const tenants = await Promise.all(Array.from({ length: 10 }, () => createTenant(money, nanoUsd(1_000n))));
    const second = await startProcess();
    const both = [money, second];
    const reserveEverywhere = (): Promise<ReserveOutcome[]> =>
      Promise.all(both.flatMap((process) => tenants.map((limits) => reserve(process, limits, 1n))));
    await reserveEverywhere();
    const before = await currentEpoch();
    await money.redis.client.flushall();
    const outcomes = await reserveEverywhere();
    expect(outcomes.every(({ admitted }) => admitted)).toBe(true);
    expect(await currentEpoch()).toBe(before + 1n);
    await second.close();
  });
});

/** Counts what the processes do from now on: scripts that install, and transactions each began to load a tenant. */
function countInstalls(processes: readonly MoneyProcess[]): { installed: number; loads: number[] } {
  const counts = { installed: 0, loads: processes.map(() => 0) };
  for (const [at, process] of processes.entries()) {
    const scripts = process.module.get(ScriptRegistry);
    const bind = scripts.bind.bind(scripts);
    jest.spyOn(scripts, 'bind').mockImplementation((name) => {
      if (name === 'quota_install') counts.installed += 1;
      return bind(name);
    });
    const connect = process.pool.connect.bind(process.pool) as (...args: unknown[]) => Promise<PoolClient>;
    const connects = jest.spyOn(process.pool, 'connect') as unknown as jest.SpyInstance<Promise<PoolClient>, unknown[]>;
    connects.mockImplementation((...args) => {
      // A transaction asks for its connection with a promise, a single query with a callback.
      if (args.length === 0) counts.loads[at] = (counts.loads[at] ?? 0) + 1;
      return connect(...args);
    });
  }
  return counts;
}
