import { Injectable, Logger, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { setTimeout as pause } from 'node:timers/promises';
import type { PoolClient } from 'pg';
import { Settings } from '../platform/config/settings';
import { ChangeFeed } from '../platform/database/change-feed';
import { RedisConnection, type RedisServer, ServerRefused } from '../platform/redis/redis-connection';
import { type Authority, AuthorityRow, type QuotaMode, type Reading } from './authority-row';
import { EndingDebt, RAISE_TOGETHER_MS } from './ending-debt';
import { ServerFollowers } from './server-followers';

/** Between two attempts to read an epoch that was heard of. */
const READ_AGAIN_MS = 200;
/** A Postgres that does not say who decides in this time keeps nobody from leaving. */
const LAST_LOOK_MS = 1_000;
/** Stands for the ledger where a server's run_id says who takes our endings. */
const LEDGER = 'the ledger';

/**
 * What this process knows of who decides over quota: an epoch, and its one decider, a Redis server or Postgres itself.
 * Postgres stores both (AuthorityRow). The epoch rises where a connection leads to another server process (a restart, a
 * failover, a restored file), where a projection of it was lost, and where the decider changes. A hold of an older epoch
 * can no longer get its PENDING row (the fence in billing_admit and quota_reserve), and every tenant is rebuilt on first
 * use.
 *
 * An epoch is learned only together with its decider. Who is connected to another server than the current one has been
 * demoted, drops that connection and reserves nothing, also where the epoch was raised by somebody with a different
 * REDIS_URL. While Postgres decides, every process keeps its connection checked and reserves nothing there. What was told
 * to whoever decided before, after the raise that ended it, the current server may not know: see EndingDebt.
 *
 *   unknown ── claims: nobody has demoted this server before our eyes ──► current ── another one claims ──► demoted
 *   demoted ── reconnects to a server that is current, or new ──► current
 *   demoted ── claims: no living process leads to the current one ──► current
 *   any ── somebody's Redis keeps failing: mode postgres ──► seen ── every living process has seen it for long ──► current
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
  /** Who decides in the newest epoch that was read. */
  private decided: { readonly epoch: bigint; readonly by: QuotaMode } | undefined;
  private catchingUp: Promise<void> | undefined;
  /** run_id of the server that was current when we last knew, or LEDGER: who takes our endings. */
  private served: string | undefined;
  /** run_ids of servers that were demoted while we led to them. */
  private readonly demoted = new Set<string>();
  private raising: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private beating: Promise<void> | undefined;
  private readonly stopping = new AbortController();

  constructor(
    private readonly row: AuthorityRow,
    private readonly feed: ChangeFeed,
    private readonly connection: RedisConnection,
    private readonly followers: ServerFollowers,
    private readonly debt: EndingDebt,
    private readonly settings: Settings,
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
   * A last look at who decides, and one more attempt at the raise that is owed, if any. False where it is still owed or
   * that could not be seen: the current server may hold what this process has ended, and only the sweeper can tell it then.
   */
  async payOnTheWayOut(): Promise<boolean> {
    this.stopping.abort();
    const hasLooked = !this.debt.hasTold || (await this.lookOnce());
    await this.debt.payNow((beyond) => this.raiseOwed(beyond));
    return hasLooked && !this.debt.isOwing;
  }

  /** The newest epoch of the Redis server this process is connected to; 0 until the first server was checked. */
  get current(): bigint {
    return this.known;
  }

  /** Who decides; undefined while a newer epoch is known to exist and not yet who decides in it. */
  get mode(): QuotaMode | undefined {
    return this.decided?.epoch === this.heard ? this.decided.by : undefined;
  }

  /** Who decided when that was last known: for people. */
  get lastMode(): QuotaMode {
    return this.decided?.by ?? 'redis';
  }

  /** The epoch in which Postgres decides; undefined where, as far as is known, it does not. */
  get postgresEpoch(): bigint | undefined {
    return this.mode === 'postgres' ? this.heard : undefined;
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
   * Accepts the server behind a new connection: it is the current one, or becomes it in a new epoch, or is only seen while
   * Postgres decides. Throws where it was demoted before our eyes and a living process leads to the current one.
   */
  async checkServer(server: RedisServer): Promise<void> {
    let authority = await this.row.read(this.heard, this.patience);
    if (!isOf(authority, server)) {
      const isOld = this.demoted.has(server.runId) || this.served === server.runId;
      if (isOld && !(await this.followers.areGone(authority.runId))) throw this.turnAway(authority, server);
      authority = await this.claim(server, isOld);
      if (!isOf(authority, server)) throw this.turnAway(authority, server);
    }
    if (authority.mode === 'redis') await this.followers.follow(server.runId);
    if (!this.learn(authority, server)) throw new Error(`epoch ${authority.epoch} is over already`);
  }

  /**
   * The projection of a tenant, installed in `lostEpoch`, is gone, or Postgres does not know that epoch: nothing of it can
   * be trusted any more.
   */
  async raiseBeyond(lostEpoch: bigint, reason: string): Promise<void> {
    const raised = (now: Authority): Authority => ({ ...now, epoch: lostEpoch + 1n });
    const authority = await this.row.change(
      () => reason,
      (now) => (now.epoch > lostEpoch ? now : raised(now)),
      this.patience,
    );
    this.learn(authority, this.connection.server);
  }

  /** From now on Postgres decides, for every process; nothing where it does already. Rejects where Postgres cannot say so. */
  async switchToPostgres(reason: string): Promise<void> {
    const authority = await this.row.change(
      () => reason,
      (now) =>
        now.mode === 'postgres' ? now : { epoch: now.epoch + 1n, mode: 'postgres', runId: null, address: null },
      this.patience,
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
      if (!this.isDemoted) throw new Error('whoever decides can be told');
      await this.row.change(
        () => 'charges ended where the current Redis server could not be told',
        (now) => ({ ...now, epoch: now.epoch + 1n }),
        this.patience,
      );
    });
    return this.raising;
  }

  /**
   * `server` has answered an ending. False where it is not known to be the current one any more: the ending must be told
   * again. Where it turns out later that it was not at this moment, a raise is owed.
   */
  recordTold(server: RedisServer | undefined): boolean {
    return server !== undefined && this.recordTaken(server.runId);
  }

  /** The same for an ending that nobody was told because Postgres decides. */
  recordInLedger(): boolean {
    return this.recordTaken(LEDGER);
  }

  /** Reads epoch and decider again: another process may have changed them. Answers the epoch that `current` has then. */
  async refresh(): Promise<bigint> {
    this.learn(await this.row.read(this.heard, this.patience), this.connection.server);
    return this.known;
  }

  private lookOnce(): Promise<boolean> {
    const looked = this.refresh().then(
      () => true,
      () => false,
    );
    return Promise.race([looked, pause(LAST_LOOK_MS, false, { ref: false })]);
  }

  /** Whoever leaves tries once, and does not keep the way out waiting. */
  private get patience(): { readonly attempts?: number } {
    return this.stopping.signal.aborted ? { attempts: 1 } : {};
  }

  private recordTaken(by: string): boolean {
    if (by !== this.served) return false;
    this.debt.taken();
    return true;
  }

  private hear(epoch: bigint): void {
    if (epoch <= this.heard) return;
    this.heard = epoch;
    this.catchUp(0);
  }

  /** Until it knows: the current decider cannot be told, nor a demoted server left, before that. */
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

  /** Tells the others which server a living process leads to, or sees, and finds out who decides now. */
  private async beat(): Promise<void> {
    try {
      if (this.mode === 'postgres') await this.lookForRedis(this.heard);
      else if (this.connection.isNone) await this.switchToPostgres('a process has no Redis (REDIS_URL=none)');
      else await this.followServed();
      await this.followers.forgetDead();
      await this.refresh();
    } catch (error) {
      this.logger.debug(`a beat was not written: ${String(error)}`);
    }
  }

  private async followServed(): Promise<void> {
    const { server } = this.connection;
    if (server !== undefined && server.runId === this.served) await this.followers.follow(server.runId);
  }

  /** Hands back to Redis once every living process has seen the same server for long enough. */
  private async lookForRedis(epoch: bigint): Promise<void> {
    const server = await this.followers.look(this.connection, epoch);
    if (server === undefined || !(await this.followers.allSee(server.runId))) return;
    const authority = await this.row.change(
      () => `every living process has seen Redis ${server.address} for ${this.settings.quotaHandBackMs} ms`,
      async (now, client) => {
        if (now.mode === 'redis' || !(await this.followers.allSee(server.runId, client))) return now;
        return { epoch: now.epoch + 1n, mode: 'redis', runId: server.runId, address: server.address };
      },
    );
    this.learn(authority, this.connection.server);
  }

  /** A server that was demoted is current again only where, in the same transaction, nobody leads to the current one. */
  private claim(server: RedisServer, wasDemoted: boolean): Promise<Reading> {
    return this.row.change(
      (now) => `Redis ${server.address} is another server process than the current one at ${now.address ?? 'none'}`,
      async (now: Authority, client: PoolClient) => {
        if (isOf(now, server)) return now;
        if (wasDemoted && !(await this.followers.areGone(now.runId, client))) return now;
        await this.followers.follow(server.runId, client);
        return { epoch: now.epoch + 1n, mode: 'redis', runId: server.runId, address: server.address };
      },
      this.patience,
    );
  }

  private turnAway(authority: Reading, server: RedisServer): ServerRefused {
    this.learn(authority, undefined);
    return demotion(server, authority);
  }

  /**
   * @param ours the server that this process is connected to, or about to accept
   * @returns false where the read was overtaken by a newer epoch and says nothing about now
   */
  private learn(authority: Reading, ours: RedisServer | undefined): boolean {
    if (authority.epoch < this.heard) return false;
    this.heard = authority.epoch;
    this.decided = { epoch: authority.epoch, by: authority.mode };
    if (authority.mode === 'postgres') {
      this.obeyPostgres();
      return true;
    }
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
   * The ledger lacks nothing, and whatever server comes after it is rebuilt from it. When an ending was last taken stays
   * known: this reading may be older than the next change of the decider.
   */
  private obeyPostgres(): void {
    this.served = LEDGER;
    this.demoted.clear();
    this.debt.forgive();
  }

  /**
   * Whoever took our endings does no longer decide. A server that still answers may have taken some after the current one
   * was rebuilt; of one that is gone, and of the ledger, those count that came after the raise.
   */
  private abandon(served: string, authority: Reading): void {
    const stillAnswers = this.connection.server?.runId === served;
    this.debt.leave(authority.epoch, stillAnswers ? -Infinity : authority.sinceMs);
    this.debt.payForward((beyond) => this.raiseOwed(beyond), this.stopping.signal);
    this.served = undefined;
    if (served !== LEDGER) this.demoted.add(served);
  }

  private raiseOwed(beyond: bigint): Promise<void> {
    return this.raiseBeyond(beyond, 'charges ended of which the current Redis server was not told');
  }
}

/** Whether the server may be connected to: it is the current one, or none is. */
function isOf(authority: Authority, server: RedisServer): boolean {
  return authority.mode === 'postgres' || authority.runId === server.runId;
}

function demotion(server: RedisServer, { epoch, address }: Authority): ServerRefused {
  return new ServerRefused(
    `another Redis server is current since epoch ${epoch}: every gateway must have the same REDIS_URL`,
    `this process leads to ${server.address}, the current one was reached at ${address ?? 'no address'}`,
  );
}
