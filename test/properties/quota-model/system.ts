import { Invariants } from '../../../src/billing/invariants/invariants.service';
import { LedgerService } from '../../../src/billing/ledger/ledger.service';
import { Charges } from '../../../src/billing/settlement/charges';
import { LateEndings } from '../../../src/billing/settlement/late-endings';
import { OpenHolds } from '../../../src/billing/settlement/open-holds';
import { ProjectionQueue } from '../../../src/billing/settlement/projection-queue';
import { ChargeWriter } from '../../../src/billing/writer/charge-writer';
import { CLOCK, OffsetClock } from '../../../src/kernel/clock';
import { floorOfTime } from '../../../src/kernel/ids';
import { Settings } from '../../../src/platform/config/settings';
import { Metrics } from '../../../src/platform/metrics/metrics';
import { ProcessIdentity } from '../../../src/platform/process/process-identity';
import { EpochAuthority } from '../../../src/quota/epoch-authority';
import { PostgresQuotaStore } from '../../../src/quota/postgres-quota.store';
import type {
  EndedHold,
  ExtendOutcome,
  HoldExtension,
  HoldRequest,
  PostedBalance,
  QuotaStore,
  ReserveOutcome,
} from '../../../src/quota/quota-store.port';
import { QuotaScripts } from '../../../src/quota/redis/quota-scripts';
import { RedisQuotaStore } from '../../../src/quota/redis-quota.store';
import { ScopePlans } from '../../../src/quota/scopes/scope-plans';
import { UntoldEndings } from '../../../src/quota/untold-endings';
import { TenantRebuild } from '../../../src/quota/warm-up/tenant-rebuild';
import { TenantWarmUp } from '../../../src/quota/warm-up/tenant-warm-up';
import { DeadCharges } from '../../../src/sync/dead-charges';
import { type MoneyProcess, startMoneyProcess } from '../../support/money-harness';
import type { StoreKind } from './model';
import { createTestDatabase, type TestDatabase } from '../../support/test-database';
import { startTestRedis, type TestRedis } from '../../support/test-redis';

const DRAIN_MS = 5_000;
/** No beat is written and no round is run but by the test. */
const STILL = { processBeatMs: 3_600_000, processDeadMs: 14_400_000 };

/** The command took so long that by its end another second or window may have begun: nothing can be said of it. */
export class StalledError extends Error {
  override readonly name = 'StalledError';
}

/** A store as a process reaches it: once that has died, nothing more is told. */
class Severable implements QuotaStore {
  isSevered = false;

  constructor(private readonly inner: QuotaStore) {}

  reserve(hold: HoldRequest): Promise<ReserveOutcome> {
    return this.inner.reserve(hold);
  }

  quote(hold: HoldRequest): Promise<ReserveOutcome> {
    return this.inner.quote(hold);
  }

  extend(extension: HoldExtension): Promise<ExtendOutcome> {
    return this.inner.extend(extension);
  }

  settle(tenantId: string, ended: readonly EndedHold[], posted: PostedBalance): Promise<void> {
    return this.isSevered ? never() : this.inner.settle(tenantId, ended, posted);
  }

  release(tenantId: string, holdIds: readonly string[]): Promise<void> {
    return this.isSevered ? never() : this.inner.release(tenantId, holdIds);
  }
}

/**
 * What is one process' own: its name, its store, what it has not told yet, its open charges. Writer, connections and epoch
 * are the host's, so that one more process costs nothing.
 */
export class ModelProcess {
  readonly identity = new ProcessIdentity();
  readonly store: Severable;
  readonly charges: Charges;
  readonly ledger: LedgerService;
  private readonly queue: ProjectionQueue;

  constructor(system: QuotaSystem) {
    const { host } = system;
    this.store = new Severable(system.storeOf(this.identity));
    this.queue = new ProjectionQueue(this.store);
    this.ledger = new LedgerService(host.pool, this.queue);
    const { module } = host;
    this.charges = new Charges(
      module.get(ChargeWriter),
      this.queue,
      new OpenHolds(this.store, module.get(ChargeWriter), this.queue, host.pool),
      this.identity,
      module.get(Settings),
      module.get(Metrics),
      new LateEndings(host.pool, module.get(ChargeWriter), this.ledger, this.identity),
    );
  }

  get id(): string {
    return this.identity.id;
  }

  /** From now on nothing that it commits is told. */
  sever(): void {
    this.store.isSevered = true;
  }

  async toldAll(): Promise<void> {
    if (this.store.isSevered) return;
    if (!(await this.queue.drain(DRAIN_MS))) throw new Error('the projection was not told');
  }
}

function never(): Promise<never> {
  return new Promise(() => undefined);
}

/** Servers and one host process, shared by all runs of a suite. */
export class QuotaSystem {
  readonly clock: OffsetClock;
  readonly sweeper: DeadCharges;
  readonly writer: ChargeWriter;

  private constructor(
    readonly kind: StoreKind,
    readonly host: MoneyProcess,
    private readonly database: TestDatabase,
    private readonly redis: TestRedis,
  ) {
    this.clock = host.module.get<OffsetClock>(CLOCK);
    this.sweeper = host.module.get(DeadCharges);
    this.writer = host.module.get(ChargeWriter);
  }

  /** @param kind who decides */
  static async open(kind: StoreKind): Promise<QuotaSystem> {
    const [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
    const host = await startMoneyProcess({
      databaseUrl: database.url,
      redisUrl: redis.url,
      testClockOffsetMs: 0,
      ...STILL,
    });
    if (kind === 'postgres') await host.module.get(EpochAuthority).switchToPostgres('model');
    return new QuotaSystem(kind, host, database, redis);
  }

  async close(): Promise<void> {
    await this.host.close();
    await this.redis.stop();
    await this.database.drop();
  }

  storeOf(identity: ProcessIdentity): QuotaStore {
    const { module } = this.host;
    if (this.kind === 'postgres') {
      // The host's store under another name: what Postgres prepares for a new connection costs more than a run.
      return Object.assign(Object.create(module.get(PostgresQuotaStore)) as QuotaStore, { process: identity });
    }
    const [epochs, plans] = [module.get(EpochAuthority), module.get(ScopePlans)];
    return new RedisQuotaStore(
      module.get(QuotaScripts),
      epochs,
      module.get(TenantWarmUp),
      module.get(UntoldEndings),
      identity,
      plans,
      this.clock,
    );
  }

  async startProcess(): Promise<ModelProcess> {
    const process = new ModelProcess(this);
    await this.host.pool.query(
      `insert into gateway_process (id, host, pid, oldest_open_id) values ($1, 'model', 0, $2)`,
      [process.id, floorOfTime(Date.now() - 60_000)],
    );
    return process;
  }

  async setStatus(processIds: readonly string[], status: 'dead' | 'swept'): Promise<void> {
    await this.host.pool.query(`update gateway_process set status = $2 where id = any ($1)`, [processIds, status]);
  }

  /** What the sweeper of another process does about a dead one, in one round. */
  async sweep(processId: string): Promise<void> {
    await this.setStatus([processId], 'dead');
    const task = { processId, oldestOpenId: floorOfTime(0), patienceMs: DRAIN_MS };
    await this.sweeper.sweep({ ...task, signal: new AbortController().signal });
    await this.sweeper.tellBalances(new AbortController().signal);
  }

  /** As if some other tenant's projection had been lost. */
  async raiseEpoch(): Promise<void> {
    const epochs = this.host.module.get(EpochAuthority);
    await epochs.raiseBeyond(epochs.current, 'model');
  }

  async rebuild(tenantId: string): Promise<void> {
    await this.host.module.get(TenantRebuild).rebuild(tenantId);
  }

  /** Does it at the model's time; throws StalledError where a second or a window has begun or ended meanwhile. */
  async at<T>(nowMs: number, edges: readonly number[], work: () => Promise<T>): Promise<T> {
    this.clock.offsetMs = nowMs - Date.now();
    const done = await work();
    const untilMs = this.clock.nowMs() + 1;
    const isAnotherSecond = Math.floor(untilMs / 1000) !== Math.floor(nowMs / 1000);
    if (isAnotherSecond || edges.some((edgeMs) => edgeMs > nowMs && edgeMs <= untilMs)) throw new StalledError();
    return done;
  }

  /** Every invariant holds; afterwards the tenants of before are no more looked at in Redis. */
  async prove(): Promise<void> {
    const results = await this.host.module.get(Invariants).check();
    expect(results.filter(({ verdict }) => verdict !== 'holds')).toEqual([]);
    await this.host.pool.query(`delete from tenant_projection`);
  }
}
