import { Inject, Injectable } from '@nestjs/common';
import type { Pool, PoolClient } from 'pg';
import { CLOCK, type Clock } from '../kernel/clock';
import { Settings } from '../platform/config/settings';
import { PG_POOL } from '../platform/database/pg-pool';
import { ProcessIdentity } from '../platform/process/process-identity';
import { RedisConnection, type RedisServer } from '../platform/redis/redis-connection';

/** What was last seen of the followers of one server: their beats, and since when these have stood still. */
interface Look {
  readonly runId: string | null;
  readonly beats: string;
  readonly sinceMs: number;
  readonly atMs: number;
}

/** Since when a connection answers without a break, in the epoch in which it was looked at. */
interface Sight {
  readonly server: RedisServer;
  readonly epoch: bigint;
  readonly sinceMs: number;
}

/**
 * Which living processes lead to which Redis server: a row of quota_follower a process, written when a server is accepted
 * and with each beat on it, gone when the process ends. While Postgres decides it says which server the process sees, and
 * for how long of this epoch. A process follows as long as its beat moves and nobody has
 * declared it dead. A beat stands still only under our own eyes, by our own clock: looks that are far apart, as after an
 * outage of Postgres, are not one watch, because what kept us from looking may have kept others from beating.
 */
@Injectable()
export class ServerFollowers {
  private lastLook: Look | undefined;
  private sight: Sight | undefined;

  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly process: ProcessIdentity,
    private readonly settings: Settings,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /** This process leads to the server now; each call is one beat. */
  async follow(runId: string, database: Pool | PoolClient = this.pool): Promise<void> {
    await database.query(
      `insert into quota_follower (process_id, run_id) values ($1, $2)
         on conflict (process_id) do update set run_id = $2, beat = quota_follower.beat + 1, epoch = 0, seen_ms = 0`,
      [this.process.id, runId],
    );
  }

  /**
   * One beat of an epoch in which Postgres decides: asks the connected server for a sign of life and records since when it
   * has given one. Answers it; undefined where there is none to be seen.
   */
  async look(connection: RedisConnection, epoch: bigint): Promise<RedisServer | undefined> {
    const { server } = connection;
    const answers =
      server !== undefined &&
      (await connection.ping().then(
        () => true,
        () => false,
      ));
    // Each connection that is checked has a server object of its own: a break shows although the server is the same.
    if (!answers || connection.server !== server) {
      this.sight = undefined;
      await this.leave();
      return undefined;
    }
    const nowMs = this.clock.monotonicMs();
    if (this.sight?.server !== server || this.sight.epoch !== epoch) this.sight = { server, epoch, sinceMs: nowMs };
    await this.pool.query(
      `insert into quota_follower (process_id, run_id, epoch, seen_ms) values ($1, $2, $3, $4)
         on conflict (process_id) do update set run_id = $2, beat = quota_follower.beat + 1, epoch = $3, seen_ms = $4`,
      [this.process.id, server.runId, epoch.toString(), Math.floor(nowMs - this.sight.sinceMs)],
    );
    return server;
  }

  /** Whether every living process has seen that very server for long enough, in the epoch that is current. */
  async allSee(runId: string, database: Pool | PoolClient = this.pool): Promise<boolean> {
    const { rows } = await database.query<{ all_see: boolean }>(
      `select not exists (
         select from gateway_process p left join quota_follower f on f.process_id = p.id
          where p.status = 'alive' and (f.run_id is distinct from $1 or f.seen_ms < $2
             or f.epoch <> (select epoch from quota_authority))) as all_see`,
      [runId, this.settings.quotaHandBackMs],
    );
    return rows[0]?.all_see ?? false;
  }

  async leave(): Promise<void> {
    await this.pool.query(`delete from quota_follower where process_id = $1`, [this.process.id]);
  }

  /** Rows that say nothing any more: of processes that ended, or were declared dead. */
  async forgetDead(): Promise<void> {
    await this.pool.query(
      `delete from quota_follower f using gateway_process p where p.id = f.process_id and p.status <> 'alive'`,
    );
  }

  /** Whether no other living process leads to the server, as far as a watch without a break can tell. */
  async areGone(runId: string | null, database: Pool | PoolClient = this.pool): Promise<boolean> {
    const { rows } = await database.query<{ process_id: string; beat: string }>(
      `select process_id, beat from quota_follower f
        where run_id = $1 and process_id <> $2
          and not exists (select from gateway_process p where p.id = f.process_id and p.status <> 'alive')
        order by process_id`,
      [runId, this.process.id],
    );
    if (rows.length === 0) return true;
    const { processDeadMs } = this.settings;
    const beats = rows.map(({ process_id, beat }) => `${process_id}:${beat}`).join();
    const atMs = this.clock.monotonicMs();
    const { lastLook } = this;
    const isOneWatch =
      lastLook?.runId === runId && lastLook.beats === beats && atMs - lastLook.atMs <= processDeadMs / 2;
    const sinceMs = isOneWatch ? lastLook.sinceMs : atMs;
    this.lastLook = { runId, beats, sinceMs, atMs };
    return atMs - sinceMs >= processDeadMs;
  }
}
