import { Client } from 'pg';
import { Invariants } from '../../src/billing/invariants/invariants.service';
import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import type { Settings } from '../../src/platform/config/settings';
import { EpochAuthority } from '../../src/quota/epoch-authority';
import type { QuotaMode } from '../../src/quota/authority-row';
import { QuotaUnavailableError } from '../../src/quota/quota-store.port';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { eventually } from '../support/eventually';
import {
  holdRequest,
  type MoneyProcess,
  ONE_NANO_A_TOKEN,
  outputOf,
  startMoneyProcess,
} from '../support/money-harness';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { startTestRedis, type TestRedis } from '../support/test-redis';

/** Quick enough for a test: what takes half a minute in the product takes half a second here. */
const QUICK: Partial<Settings> = {
  billingCircuitFailures: 5,
  billingCircuitOpenMs: 500,
  quotaHandBackMs: 400,
  processBeatMs: 100,
  processDeadMs: 3_000,
};
/** Only what the test itself does moves the mode. */
export const STILL: Partial<Settings> = { processBeatMs: 3_600_000, processDeadMs: 14_400_000 };

/** Processes that share a database and reach one Redis, each over a wire of its own. */
export class ModesStage {
  readonly processes: MoneyProcess[] = [];
  readonly wires: TcpProxy[] = [];
  private readonly loads: Load[] = [];

  private constructor(
    readonly database: TestDatabase,
    readonly redis: TestRedis,
  ) {}

  static async open(): Promise<ModesStage> {
    const [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
    return new ModesStage(database, redis);
  }

  async start(overrides: Partial<Settings> = {}): Promise<MoneyProcess> {
    const wire = await startTcpProxy(this.redis.url);
    const urls = { databaseUrl: this.database.url, redisUrl: wire.url };
    const process = await startMoneyProcess({ ...urls, ...QUICK, ...overrides });
    this.wires.push(wire);
    this.processes.push(process);
    return process;
  }

  /** Calls without a pause from every process until `stop`. */
  load(limits: CallerLimits, amount: bigint): Load {
    const load = new Load(this.processes, limits, amount);
    this.loads.push(load);
    return load;
  }

  async all(mode: QuotaMode, withinMs = 15_000): Promise<void> {
    const isSo = (): boolean => this.processes.every((process) => process.module.get(EpochAuthority).mode === mode);
    await eventually(`all know that ${mode} decides`, () => isSo() || undefined, withinMs);
  }

  async authority(): Promise<{ epoch: number; mode: string; run_id: string | null }> {
    return this.asOwner(async (client) => {
      const { rows } = await client.query<{ epoch: string; mode: string; run_id: string | null }>(
        `select epoch, mode, run_id from quota_authority`,
      );
      const [row] = rows;
      if (!row) throw new Error('no authority');
      return { ...row, epoch: Number(row.epoch) };
    });
  }

  /** Nobody hears of a raise any more: the feed has missed it. */
  silenceFeed(): Promise<unknown> {
    return this.asOwner((client) =>
      client.query(`alter table quota_authority disable trigger quota_authority_changed`),
    );
  }

  /** What is wrong once everything has been told, as each process sees it. */
  async broken(): Promise<readonly object[]> {
    for (const { module } of this.processes) {
      await eventually('all is told', () => module.get(ProjectionQueue).depth === 0 || undefined, 20_000);
    }
    const found = await Promise.all(this.processes.map(({ module }) => module.get(Invariants).check()));
    return found.flat().filter(({ verdict }) => verdict !== 'holds');
  }

  async asOwner<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const client = new Client({ connectionString: this.database.url });
    await client.connect();
    try {
      return await work(client);
    } finally {
      await client.end();
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.loads.map((load) => load.stop()));
    await Promise.all(this.processes.map((process) => process.close()));
    await Promise.all(this.wires.map((wire) => wire.close()));
    await this.redis.stop();
    await this.database.drop();
  }
}

/** Calls in flight from each process at once. */
const CALLERS = 4;

/** Calls that reserve, wait for their row, and settle at a part of what they held. */
export class Load {
  admitted = 0;
  refused = 0;
  unavailable = 0;
  settledNanoUsd = 0n;
  private isOver = false;
  private readonly callers: Promise<void>[];

  constructor(
    processes: readonly MoneyProcess[],
    private readonly limits: CallerLimits,
    private readonly amount: bigint,
  ) {
    this.callers = processes.flatMap((process) => Array.from({ length: CALLERS }, () => this.call(process)));
  }

  /** Resolves when `more` calls have been admitted since now. */
  async goesOn(more = 40): Promise<void> {
    const enough = this.admitted + more;
    await eventually('calls are admitted', () => this.admitted >= enough || undefined, 20_000);
  }

  async stop(): Promise<void> {
    this.isOver = true;
    await Promise.all(this.callers);
  }

  private async call(process: MoneyProcess): Promise<void> {
    for (let round = 0; !this.isOver; round += 1) {
      const request = holdRequest(this.limits, this.amount, {}, round % 2 === 0);
      try {
        const outcome = await process.store.reserve(request);
        if (!outcome.admitted) {
          this.refused += 1;
          await new Promise((resolve) => setTimeout(resolve, 5));
          continue;
        }
        const charge = process.charges.begin(outcome.hold, request, ONE_NANO_A_TOKEN);
        if ('code' in charge) continue;
        if (await charge.durable()) {
          await charge.void({ reasonCode: 'TEST', endReason: 'failed' });
          continue;
        }
        this.admitted += 1;
        if (round % 5 === 4) {
          await charge.void({ reasonCode: 'TEST', endReason: 'failed' });
          continue;
        }
        const settled = await charge.settle(outputOf(Number(this.amount) - (round % 7)));
        if (!('code' in settled)) this.settledNanoUsd += settled.amount;
      } catch (error) {
        if (!(error instanceof QuotaUnavailableError)) throw error;
        this.unavailable += 1;
        if (error.mayHold) process.charges.abandonReserve(this.limits.tenantId, request.holdId);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
  }
}
