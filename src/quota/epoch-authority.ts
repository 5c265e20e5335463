import { Inject, Injectable, Logger, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { setTimeout as pause } from 'node:timers/promises';
import type { Pool, PoolClient } from 'pg';
import { CLOCK, type Clock } from '../kernel/clock';
import { Settings } from '../platform/config/settings';
import { ChangeFeed } from '../platform/database/change-feed';
import { PG_POOL } from '../platform/database/pg-pool';
import { withTransaction } from '../platform/database/with-transaction';
import { RedisConnection, type RedisServer, ServerRefused } from '../platform/redis/redis-connection';
import { ServerFollowers } from './server-followers';

/** The row of quota_authority. The run_id changes only together with the epoch: an epoch has one server. */
interface Authority {
  readonly epoch: bigint;
  /** The one Redis server whose projection counts; null until the first connection of all. */
  readonly runId: string | null;
  /** How it was reached by whoever made it current: for the log, it proves nothing. */
  readonly address: string | null;
}

interface Reading extends Authority {
  /** What was committed before this, by our monotonic clock, is seen by every rebuild of this epoch. */
  readonly sinceMs: number;
}

/** Endings that could not be told wait this long for one another, so that one raise does for all. */
const RAISE_TOGETHER_MS = 1_000;
/** Between two attempts to read an epoch that was heard of. */
const READ_AGAIN_MS = 200;
/**
 * A raise waits for every PENDING row that is being inserted, and nobody begins to insert another one meanwhile. Statements
 * of a slow Postgres take longer than the hot path waits for a lock, and without the raise nothing is admitted at all.
 */
const FENCE_WAIT = '2s';

/**
 * Which projection of the ledger is current: an epoch, and the one Redis server that has it. Postgres stores both. The
 * epoch rises where a connection leads to another server process (a restart, a failover, a restored file) and where a
 * projection of it was lost. A hold of an older epoch can no longer get its PENDING row (the fence in billing_admit), and
 * every tenant is rebuilt on first use.
 *
 * Raising takes the fence exclusively; inserting PENDING rows takes it shared. So after a raise no row of an older epoch
 * appears any more, and a rebuild that reads afterwards sees all there will ever be.
 *
 * An epoch is learned only together with its server: who is connected to another one has been demoted, drops that
 * connection and reserves nothing, also where the epoch was raised by somebody with a different REDIS_URL. What it told the
 * old server since the raise the current one does not know: it owes one more raise, once a demotion.
 *
 *   unknown ── claims: nobody has demoted this server before our eyes ──► current ── another one claims ──► demoted
 *   demoted ── reconnects to a server that is current, or new ──► current
 *   demoted ── claims: no living process leads to the current one ──► current
 *
 * While a living process leads to the current server a demoted one is not claimed again by a process that saw it demoted:
 * two gateways with two servers would take the authority from each other for ever.
 */
@Injectable()
export class EpochAuthority implements OnModuleInit, OnApplicationShutdown {
  private readonly logger = new Logger(EpochAuthority.name);
  /** The newest epoch whose server was the one we were connected to. */
  private known = 0n;
  /** The newest epoch heard or read of. */
  private heard = 0n;
  private catchingUp: Promise<void> | undefined;
  /** run_id of the server that was current when we last knew, and that takes our endings. */
  private served: string | undefined;
  /** When an ending was last answered by it. */
  private lastToldMs: number | undefined;
  /** run_ids of servers that were demoted while we led to them. */
  private readonly demoted = new Set<string>();
  private raising: Promise<void> | undefined;
  /** The epoch beyond which we must raise, because its server lacks endings that we told an older one. */
  private owed: bigint | undefined;
  private paying: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private beating: Promise<void> | undefined;
  private readonly stopping = new AbortController();

  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly feed: ChangeFeed,
    private readonly connection: RedisConnection,
    private readonly followers: ServerFollowers,
    private readonly settings: Settings,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /** A raise by another process is heard at once; where the feed missed one, beats, scripts and the fence still tell. */
  onModuleInit(): void {
    this.feed.subscribe('quota_authority', {
      changed: (epoch) => {
        this.hear(BigInt(epoch));
      },
      lost: () => {
        this.refresh().catch((error: unknown) => {
          this.logger.warn(`the epoch could not be read again: ${String(error)}`);
        });
      },
    });
    this.timer = setInterval(() => {
      this.beating ??= this.beat().finally(() => (this.beating = undefined));
    }, this.settings.processBeatMs).unref();
  }

  /** Others may claim at once where this process alone led to the current server. */
  async onApplicationShutdown(): Promise<void> {
    clearInterval(this.timer);
    await Promise.all([this.beating, this.payOnTheWayOut()]);
    await this.followers.leave().catch((error: unknown) => {
      this.logger.warn(`the way out was not recorded: ${String(error)}`);
    });
  }

  /**
   * One more attempt at the raise that is owed, if any. False where it is still owed: the current server may hold what this
   * process has ended, and only the sweeper can tell it then.
   */
  async payOnTheWayOut(): Promise<boolean> {
    this.stopping.abort();
    await this.paying;
    await this.payOnce();
    return this.owed === undefined;
  }

  /** The newest epoch of the server this process is connected to; 0 until the first server was checked. */
  get current(): bigint {
    return this.known;
  }

  /**
   * Set while a newer epoch is known to exist but not yet whose it is: nothing is reserved or told before it has resolved.
   * Rejects where an attempt to read it failed; it is set anew then, until one has succeeded.
   */
  get behind(): Promise<void> | undefined {
    return this.catchingUp;
  }

  /** Whether the server this process leads to was demoted, and no current one has been found since. */
  get isDemoted(): boolean {
    return this.demoted.size > 0;
  }

  /**
   * Accepts the server behind a new connection: it is the current one, or becomes it in a new epoch. Throws where it was
   * demoted before our eyes and a living process leads to the current one.
   */
  async checkServer(server: RedisServer): Promise<void> {
    let authority = await this.read();
    if (authority.runId !== server.runId) {
      const isOld = this.demoted.has(server.runId) || this.served === server.runId;
      if (isOld && !(await this.followers.areGone(authority.runId))) throw this.turnAway(authority, server);
      authority = await this.claim(server, isOld);
      if (authority.runId !== server.runId) throw this.turnAway(authority, server);
    }
    await this.followers.follow(server.runId);
    if (!this.learn(authority, server)) throw new Error(`epoch ${authority.epoch} is over already`);
  }

  /**
   * The projection of a tenant, installed in `lostEpoch`, is gone, or Postgres does not know that epoch: nothing of it can
   * be trusted any more.
   */
  async raiseBeyond(lostEpoch: bigint, reason: string): Promise<void> {
    const authority = await this.change(
      () => reason,
      (now) => (now.epoch > lostEpoch ? now : { ...now, epoch: lostEpoch + 1n }),
    );
    this.learn(authority, this.connection.server);
  }

  /**
   * For a demoted process whose charges have ended: the current server may count them as open, and only a rebuild can
   * tell it. Resolves when one is due; rejects where the process has found the current server meanwhile.
   */
  raiseForEndings(): Promise<void> {
    this.raising ??= new Promise<void>((resolve) => setTimeout(resolve, RAISE_TOGETHER_MS)).then(async () => {
      this.raising = undefined;
      if (!this.isDemoted) throw new Error('the current Redis server can be told');
      await this.change(
        () => 'charges ended where the current Redis server could not be told',
        (now) => ({ ...now, epoch: now.epoch + 1n }),
      );
    });
    return this.raising;
  }

  /**
   * `server` has answered an ending. False where it is not known to be the current one any more: the ending must be told
   * again. Where it turns out later that it was not at this moment, a raise is owed.
   */
  recordTold(server: RedisServer | undefined): boolean {
    if (server === undefined || server.runId !== this.served) return false;
    this.lastToldMs = this.clock.monotonicMs();
    return true;
  }

  /** Reads epoch and server again: another process may have changed them. Answers the epoch that `current` has then. */
  async refresh(): Promise<bigint> {
    this.learn(await this.read(), this.connection.server);
    return this.known;
  }

  private hear(epoch: bigint): void {
    if (epoch <= this.heard) return;
    this.heard = epoch;
    this.catchUp(0);
  }

  /** Until it knows: the current server cannot be told, nor a demoted one left, before that. */
  private catchUp(afterMs: number): void {
    const wait = afterMs === 0 ? Promise.resolve() : pause(afterMs, undefined, { signal: this.stopping.signal });
    const attempt = wait.then(() => this.refresh()).then(() => undefined);
    this.catchingUp = attempt;
    attempt.then(
      () => {
        if (this.catchingUp === attempt) this.catchingUp = undefined;
      },
      (error: unknown) => {
        if (this.catchingUp !== attempt || this.stopping.signal.aborted) return;
        if (afterMs === 0) this.logger.warn(`epoch ${this.heard} could not be read: ${String(error)}`);
        this.catchUp(READ_AGAIN_MS);
      },
    );
  }

  /** Tells the others that a living process leads to the current server, and finds out whether it still is. */
  private async beat(): Promise<void> {
    try {
      const { server } = this.connection;
      if (server !== undefined && server.runId === this.served) await this.followers.follow(server.runId);
      await this.followers.forgetDead();
      await this.refresh();
    } catch (error) {
      this.logger.debug(`a beat was not written: ${String(error)}`);
    }
  }

  /** A server that was demoted is current again only where, in the same transaction, nobody leads to the current one. */
  private claim(server: RedisServer, wasDemoted: boolean): Promise<Reading> {
    return this.change(
      (now) => `Redis ${server.address} is another server process than the current one at ${now.address ?? 'none'}`,
      async (now, client) => {
        if (now.runId === server.runId) return now;
        if (wasDemoted && !(await this.followers.areGone(now.runId, client))) return now;
        await this.followers.follow(server.runId, client);
        return { epoch: now.epoch + 1n, runId: server.runId, address: server.address };
      },
    );
  }

  private turnAway(authority: Reading, server: RedisServer): ServerRefused {
    this.learn(authority, undefined);
    return demotion(server, authority);
  }

  /**
   * A Postgres that does not know an epoch we know of has lost it (a restored backup, a failover to a replica that was
   * behind): what Redis has of that epoch, and of the ones before, must not be taken for what Postgres calls so next.
   */
  private async read(): Promise<Reading> {
    const { heard } = this;
    const startedMs = this.clock.monotonicMs();
    const { agoMs, ...authority } = await readAuthority(this.pool);
    if (authority.epoch >= heard) return { ...authority, sinceMs: startedMs - agoMs };
    return this.change(
      () => `epoch ${heard} was current and Postgres has lost it`,
      (now) => (now.epoch >= heard ? now : { ...now, epoch: heard + 1n }),
    );
  }

  /** One writer at a time, and none while a PENDING row is being inserted; what stands already changes nothing. */
  private async change(
    reasonOf: (before: Authority) => string,
    decide: (now: Authority, client: PoolClient) => Authority | Promise<Authority>,
  ): Promise<Reading> {
    const isLastWord = this.stopping.signal.aborted;
    return withTransaction(
      this.pool,
      async (client) => {
        await client.query(`set local lock_timeout = '${FENCE_WAIT}'`);
        await client.query(`select pg_advisory_xact_lock(quota_fence())`);
        const startedMs = this.clock.monotonicMs();
        const { agoMs, ...before } = await readAuthority(client);
        const after = await decide(before, client);
        if (after === before) return { ...before, sinceMs: startedMs - agoMs };
        await client.query(
          `update quota_authority set epoch = $1, run_id = $2, address = $3, changed_at = clock_timestamp()`,
          [after.epoch.toString(), after.runId, after.address],
        );
        this.logger.warn(`epoch ${before.epoch} → ${after.epoch}: ${reasonOf(before)}`);
        return { ...after, sinceMs: startedMs };
      },
      isLastWord ? { attempts: 1 } : {},
    );
  }

  /**
   * @param ours the server that this process is connected to, or about to accept
   * @returns false where the read was overtaken by a newer epoch and says nothing about now
   */
  private learn(authority: Reading, ours: RedisServer | undefined): boolean {
    if (authority.epoch < this.heard) return false;
    this.heard = authority.epoch;
    if (this.served !== undefined && this.served !== authority.runId) this.abandon(this.served, authority);
    if (ours === undefined) return true;
    if (ours.runId === authority.runId) {
      this.known = authority.epoch;
      this.served = ours.runId;
      this.demoted.clear();
      return true;
    }
    this.demoted.add(ours.runId);
    this.connection.distrust(ours, demotion(ours, authority));
    return true;
  }

  /**
   * The server that took our endings was demoted. One that still answers may have taken some after the current one was
   * rebuilt; of one that is gone those count that it answered after the raise.
   */
  private abandon(served: string, authority: Reading): void {
    const sinceMs = this.connection.server?.runId === served ? -Infinity : authority.sinceMs;
    if (this.lastToldMs !== undefined && this.lastToldMs >= sinceMs) {
      this.owed = authority.epoch;
      this.paying ??= this.pay().finally(() => (this.paying = undefined));
    }
    this.served = undefined;
    this.lastToldMs = undefined;
    this.demoted.add(served);
  }

  private async pay(): Promise<void> {
    while (this.owed !== undefined) {
      await pause(RAISE_TOGETHER_MS, undefined, { signal: this.stopping.signal }).catch(() => undefined);
      if (this.stopping.signal.aborted) return;
      await this.payOnce();
    }
  }

  /** A raise by anybody else since does as well: everything owed was committed before it. Never rejects. */
  private async payOnce(): Promise<void> {
    const { owed } = this;
    if (owed === undefined) return;
    try {
      await this.raiseBeyond(owed, 'a server that was demoted has taken endings that the current one lacks');
      if (this.owed === owed) this.owed = undefined;
    } catch (error) {
      this.logger.warn(`the current Redis server lacks endings, and the epoch was not raised: ${String(error)}`);
    }
  }
}

async function readAuthority(database: Pool | PoolClient): Promise<Authority & { readonly agoMs: number }> {
  const { rows } = await database.query<{
    epoch: string;
    run_id: string | null;
    address: string | null;
    ago_ms: string;
  }>(
    `select epoch, run_id, address, extract(epoch from clock_timestamp() - changed_at) * 1000 as ago_ms
       from quota_authority`,
  );
  const [row] = rows;
  if (!row) throw new Error('quota_authority has no row: the migrations have not run');
  return { epoch: BigInt(row.epoch), runId: row.run_id, address: row.address, agoMs: Number(row.ago_ms) };
}

function demotion(server: RedisServer, { epoch, address }: Authority): ServerRefused {
  return new ServerRefused(
    `another Redis server is current since epoch ${epoch}: every gateway must have the same REDIS_URL`,
    `this process leads to ${server.address}, the current one was reached at ${address ?? 'no address'}`,
  );
}
