import { Inject, Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';
import type { Pool } from 'pg';
import { CLOCK, type Clock } from '../kernel/clock';
import { Settings } from '../platform/config/settings';
import { PG_POOL } from '../platform/database/pg-pool';
import { ProcessIdentity } from '../platform/process/process-identity';
import { DeadCharges } from './dead-charges';
import { DeadProcesses } from './dead-processes';
import { asLeader } from './leader';

interface ProcessRow {
  readonly id: string;
  readonly beat: string;
  readonly status: 'alive' | 'dead';
  readonly oldest_open_id: string;
}

const KEEP_ENDED = '7 days';

/**
 * Resolves what dead processes left open. Every process watches all beats; one of them, the leader, acts. A living
 * process is never touched: only one whose beat stood still for the whole time is marked dead, and the mark names the
 * beat that was seen, so that a beat in between wins.
 */
@Injectable()
export class HoldSweeper implements OnApplicationBootstrap {
  private readonly logger = new Logger(HoldSweeper.name);
  private readonly watch: DeadProcesses;
  private isSweeping = false;

  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    @Inject(CLOCK) private readonly clock: Clock,
    private readonly scheduler: SchedulerRegistry,
    private readonly process: ProcessIdentity,
    private readonly charges: DeadCharges,
    private readonly settings: Settings,
  ) {
    this.watch = new DeadProcesses(settings.processDeadMs);
  }

  onApplicationBootstrap(): void {
    const timer = setInterval(() => void this.sweep(), this.settings.processBeatMs);
    this.scheduler.addInterval('hold-sweeper', timer);
  }

  /** One round; rounds never overlap. Never rejects. */
  async sweep(): Promise<void> {
    if (this.isSweeping) return;
    this.isSweeping = true;
    try {
      const dead = await this.observe();
      if (dead.length === 0) return;
      await asLeader(this.pool, 'tollgate hold sweeper', async () => {
        for (const process of dead) await this.resolve(process);
      });
    } catch (error) {
      this.logger.warn(`the sweeper could not finish: ${error instanceof Error ? error.message : String(error)}`);
    } finally {
      this.isSweeping = false;
    }
  }

  private async observe(): Promise<readonly ProcessRow[]> {
    const { rows } = await this.pool.query<ProcessRow>(
      `select id, beat, status, oldest_open_id from gateway_process where status in ('alive', 'dead') and id <> $1`,
      [this.process.id],
    );
    const silent = new Set(this.watch.observe(rows, this.clock.monotonicMs()).map(({ id }) => id));
    return rows.filter((row) => row.status === 'dead' || silent.has(row.id));
  }

  private async resolve(row: ProcessRow): Promise<void> {
    const { rows } = await this.pool.query<{ oldest_open_id: string }>(
      `update gateway_process set status = 'dead'
        where id = $1 and beat = $2 and status in ('alive', 'dead') returning oldest_open_id`,
      [row.id, row.beat],
    );
    const [marked] = rows;
    if (!marked) return;
    const swept = await this.charges.sweep(row.id, marked.oldest_open_id);
    if (swept === undefined) return;
    await this.pool.query(`update gateway_process set status = 'swept' where id = $1 and status = 'dead'`, [row.id]);
    await this.pool.query(
      `delete from gateway_process where status in ('swept', 'ended') and beat_at < now() - $1::interval`,
      [KEEP_ENDED],
    );
    this.logger.warn(
      `process ${row.id} is dead: ${swept.voided} open charges voided, ${swept.orphaned} holds without a row released, ` +
        `${swept.finished} projections finished`,
    );
  }
}
