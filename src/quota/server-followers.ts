import { Inject, Injectable } from '@nestjs/common';
import type { Pool, PoolClient } from 'pg';
import { CLOCK, type Clock } from '../kernel/clock';
import { Settings } from '../platform/config/settings';
import { PG_POOL } from '../platform/database/pg-pool';
import { ProcessIdentity } from '../platform/process/process-identity';

/** What was last seen of the followers of one server: their beats, and since when these have stood still. */
interface Look {
  readonly runId: string | null;
  readonly beats: string;
  readonly sinceMs: number;
  readonly atMs: number;
}

/**
 * Which living processes lead to which Redis server: a row of quota_follower a process, written when a server is accepted
 * and with each beat on it, gone when the process ends. A process follows as long as its beat moves and nobody has
 * declared it dead. A beat stands still only under our own eyes, by our own clock: looks that are far apart, as after an
 * outage of Postgres, are not one watch, because what kept us from looking may have kept others from beating.
 */
@Injectable()
export class ServerFollowers {
  private lastLook: Look | undefined;

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
         on conflict (process_id) do update set run_id = $2, beat = quota_follower.beat + 1`,
      [this.process.id, runId],
    );
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
