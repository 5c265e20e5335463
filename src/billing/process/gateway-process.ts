import { Inject, Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import { hostname } from 'node:os';
import type { Pool } from 'pg';
import { CLOCK, type Clock } from '../../kernel/clock';
import { floorOfId, floorOfTime } from '../../kernel/ids';
import { Settings } from '../../platform/config/settings';
import { PG_POOL } from '../../platform/database/pg-pool';
import { ProcessIdentity } from '../../platform/process/process-identity';
import { EpochAuthority } from '../../quota/epoch-authority';
import { ProcessHolds } from '../../quota/redis/process-holds';
import { Charges } from '../settlement/charges';
import { messageOf } from '../../kernel/error-message';

/** Most calls open their charge within this time of being given their trace id; a row of another lowers the watermark. */
const OPENS_WITHIN_MS = 60_000;

/**
 * This process' row in gateway_process. Each beat raises a counter that the sweeper watches with its own clock, and says
 * where this process' open charges begin. The row is there before the first reserve.
 *
 *   alive ─► ended            a drained process: nothing of it is open, on its way, or unknown to the projection
 *     └────► dead ─► swept    by the sweeper; a process that finds itself dead must stop charging
 *              └──◄────┘      by a process that was only paused: what it opened since is for the sweeper
 */
@Injectable()
export class GatewayProcess implements OnApplicationShutdown {
  private readonly logger = new Logger(GatewayProcess.name);
  private timer: NodeJS.Timeout | undefined;
  private hasDied = false;
  private isLeaving = false;
  private deathListener: () => void = () => undefined;

  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    @Inject(CLOCK) private readonly clock: Clock,
    private readonly process: ProcessIdentity,
    private readonly charges: Charges,
    private readonly epochs: EpochAuthority,
    private readonly holds: ProcessHolds,
    private readonly settings: Settings,
  ) {}

  /** Registers the process; rejects where Postgres does not take it (the boot stops). */
  async register(): Promise<void> {
    await this.pool.query(`insert into gateway_process (id, host, pid, oldest_open_id) values ($1, $2, $3, $4)`, [
      this.process.id,
      hostname(),
      process.pid,
      this.watermark(),
    ]);
    this.timer = setInterval(() => void this.writeBeat(), this.settings.processBeatMs);
  }

  /** Called once when the sweeper of another process has declared this one dead. */
  onDeath(listener: () => void): void {
    this.deathListener = listener;
  }

  /** A row that is not ended stops beating, and the sweeper finishes what this process could not. */
  async onApplicationShutdown(): Promise<void> {
    this.isLeaving = true;
    clearInterval(this.timer);
    const isTold = await this.epochs.payOnTheWayOut();
    if (!isTold || this.charges.hasLeftovers) {
      this.logger.warn('this process leaves something open: the sweeper of another process ends it');
      return;
    }
    try {
      const hasEnded = await this.recordEnd();
      // Nobody looks there any more, and nobody else would take it away.
      if (hasEnded && this.holds.isReady) await this.holds.forgetTenantsOf(this.process.id, 0);
    } catch (error) {
      this.logger.warn(`the end of this process was not recorded: ${messageOf(error)}`);
    }
  }

  /** The ledger has the last word: an ending that Postgres refused has left its PENDING row. */
  private async recordEnd(): Promise<boolean> {
    const { rowCount } = await this.pool.query(
      `update gateway_process p set status = 'ended'
        where id = $1 and status = 'alive' and not exists (
          select 1 from billing_transaction b
           where b.id >= p.oldest_open_id and b.process_id = p.id and b.status = 'PENDING')`,
      [this.process.id],
    );
    return rowCount === 1;
  }

  /** Raises the beat; calls the listener where this process finds that it was declared dead. */
  async writeBeat(): Promise<void> {
    try {
      const { rows } = await this.pool.query<{ status: string }>(
        `update gateway_process set beat = beat + 1, beat_at = now(),
            oldest_open_id = case when status = 'dead' then oldest_open_id else $2 end,
            status = case when status = 'swept' then 'dead' else status end
          where id = $1 and status <> 'ended' returning status`,
        [this.process.id, this.watermark()],
      );
      if (rows[0]?.status !== 'alive') this.die();
    } catch (error) {
      this.logger.warn(`a beat was not written: ${messageOf(error)}`);
    }
  }

  /** Once, and not where the row says `ended` because this process is leaving already. */
  private die(): void {
    if (this.hasDied || this.isLeaving) return;
    this.hasDied = true;
    clearInterval(this.timer);
    this.charges.admitNothingMore();
    this.logger.fatal('this process was declared dead: it ends its streams and stops');
    this.deathListener();
  }

  /** Every charge that is open or being opened now has a trace id and an id ≥ this; see process_lower_watermarks. */
  private watermark(): string {
    const recent = floorOfTime(this.clock.nowMs() - this.clock.offsetMs - OPENS_WITHIN_MS);
    const oldest = this.charges.oldestOpenTraceId();
    return oldest !== undefined && oldest < recent ? floorOfId(oldest) : recent;
  }
}
