import {
  type BeforeApplicationShutdown,
  Inject,
  Injectable,
  Logger,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
} from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';
import type { Pool, PoolClient } from 'pg';
import { CLOCK, type Clock } from '../kernel/clock';
import { Settings } from '../platform/config/settings';
import { PG_POOL } from '../platform/database/pg-pool';
import { withTransaction } from '../platform/database/with-transaction';
import { ProcessIdentity } from '../platform/process/process-identity';
import { DeadCharges, type Swept } from './dead-charges';
import { DeadProcesses } from './dead-processes';
import { asLeader } from './leader';
import { messageOf } from '../kernel/error-message';

interface ProcessRow {
  readonly id: string;
  readonly beat: string;
  readonly status: 'alive' | 'dead';
}

interface Seen {
  readonly process: ProcessRow;
  readonly swept: Swept;
}

/** Looks this many beats apart are one watch; a longer break starts it anew. */
const MAX_GAP_BEATS = 3;
const KEEP_ENDED_DAYS = 7;
/** The mark waits for the batches that bring rows of the process, longer than the hot path waits for anything. */
const MARK_LOCK_MS = 2_000;
const INTERVAL = 'hold-sweeper';

/**
 * Resolves what dead processes left open. Every process watches all beats; one of them, the leader, acts. A living
 * process is never touched: only one whose beat stood still for the whole time is marked dead, and the mark names the
 * beat that was seen, so that a beat in between wins.
 *
 * A dead process is swept in every round until a round finds nothing of it, and is `swept` when another look, the whole
 * time later, finds nothing either: what was still on its way to Postgres when it died has arrived by then. Whoever finds
 * something raises the beat, and the time starts again in every process, whichever of them leads then.
 */
@Injectable()
export class HoldSweeper implements OnApplicationBootstrap, BeforeApplicationShutdown, OnApplicationShutdown {
  private readonly logger = new Logger(HoldSweeper.name);
  private readonly watch: DeadProcesses;
  /** Dead processes of which our last look could end nothing: since when, by our clock, and at which beat. */
  private readonly quiet = new Map<string, { readonly beat: string; readonly sinceMs: number }>();
  private readonly leaving = new AbortController();
  private round: Promise<void> | undefined;
  private isBlind = false;

  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    @Inject(CLOCK) private readonly clock: Clock,
    private readonly scheduler: SchedulerRegistry,
    private readonly process: ProcessIdentity,
    private readonly charges: DeadCharges,
    private readonly settings: Settings,
  ) {
    this.watch = new DeadProcesses({
      deadAfterMs: settings.processDeadMs,
      maxGapMs: MAX_GAP_BEATS * settings.processBeatMs,
    });
  }

  onApplicationBootstrap(): void {
    const timer = setInterval(() => void this.sweep(), this.settings.processBeatMs);
    this.scheduler.addInterval(INTERVAL, timer);
  }

  /** No new batch starts; the one under way is written by the writer's own drain. */
  beforeApplicationShutdown(): void {
    this.leaving.abort(new Error('this process is leaving'));
  }

  async onApplicationShutdown(): Promise<void> {
    await this.round;
  }

  /** One look, and one round where somebody is dead; rounds never overlap. Never rejects. */
  async sweep(): Promise<void> {
    if (this.leaving.signal.aborted) return;
    const dead = await this.look();
    // A long round does not keep us from watching: the look is made, the round is the next one's.
    if (dead.length === 0 || this.round) return;
    this.round = this.resolveAll(dead).finally(() => {
      this.round = undefined;
    });
    await this.round;
  }

  private async look(): Promise<readonly ProcessRow[]> {
    try {
      const { rows } = await this.pool.query<ProcessRow>(
        `select id, beat, status from gateway_process where status in ('alive', 'dead') and id <> $1`,
        [this.process.id],
      );
      if (this.isBlind) this.logger.log('the beats can be seen again');
      this.isBlind = false;
      const nowMs = this.clock.monotonicMs();
      const silent = new Set(this.watch.observe(rows, nowMs).map(({ id }) => id));
      const present = new Set(rows.map(({ id }) => id));
      for (const id of this.quiet.keys()) if (!present.has(id)) this.quiet.delete(id);
      return rows.filter((row) => (row.status === 'dead' ? this.isDue(row, nowMs) : silent.has(row.id)));
    } catch (error) {
      this.watch.interrupt();
      if (!this.isBlind) this.logger.warn(`the beats cannot be seen: ${messageOf(error)}`);
      this.isBlind = true;
      return [];
    }
  }

  private isDue(row: ProcessRow, nowMs: number): boolean {
    const quiet = this.quiet.get(row.id);
    return quiet?.beat !== row.beat || nowMs - quiet.sinceMs >= this.settings.processDeadMs;
  }

  private async resolveAll(dead: readonly ProcessRow[]): Promise<void> {
    try {
      await asLeader(this.pool, 'tollgate hold sweeper', async () => {
        const seen: Seen[] = [];
        for (const process of dead) {
          // What cannot be ended for one process must not keep another's holds.
          const swept = await this.tried(process, () => this.resolve(process));
          if (swept?.sawHolds) seen.push({ process, swept });
        }
        if (seen.length === 0) return;
        await this.charges.tellBalances(this.leaving.signal);
        for (const { process, swept } of seen) await this.tried(process, () => this.conclude(process, swept));
      });
    } catch (error) {
      this.logger.warn(`the sweeper could not finish: ${messageOf(error)}`);
    }
  }

  private async tried<T>(process: ProcessRow, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      this.logger.warn(`process ${process.id} could not be swept: ${messageOf(error)}`);
      return undefined;
    }
  }

  /** What was found of a dead process; undefined where it is not for us to sweep. */
  private async resolve(row: ProcessRow): Promise<Swept | undefined> {
    const oldestOpenId = await this.mark(row);
    if (oldestOpenId === undefined) return undefined;
    if (row.status === 'alive') this.logger.warn(`process ${row.id} is dead: its beat stands still`);
    const swept = await this.sweepOne(row, oldestOpenId);
    if (endedBy(swept) > 0) {
      this.logger.warn(
        `process ${row.id} left ${swept.charged + swept.voided} open charges, of which ${swept.charged} are charged and ` +
          `${swept.voided} voided now, ${swept.orphaned} holds without a row and ${swept.finished} endings the ` +
          `projection did not know`,
      );
      await this.restartQuiet(row);
    } else if (!swept.sawHolds) this.quiet.delete(row.id);
    return swept;
  }

  /** A pass that fails may have ended something before: it counts as one that has. */
  private async sweepOne({ id, beat }: ProcessRow, oldestOpenId: string): Promise<Swept> {
    try {
      return await this.charges.sweep({
        processId: id,
        oldestOpenId,
        patienceMs: this.settings.processBeatMs,
        signal: this.leaving.signal,
      });
    } catch (error) {
      await this.restartQuiet({ id, beat }).catch((failure: unknown) => {
        this.logger.warn(`the beat of process ${id} could not be raised: ${messageOf(failure)}`);
      });
      throw error;
    }
  }

  /** Here, and by its beat in every other process. */
  private async restartQuiet({ id, beat }: Pick<ProcessRow, 'id' | 'beat'>): Promise<void> {
    this.quiet.delete(id);
    await this.pool.query(
      `update gateway_process set beat = beat + 1 where id = $1 and beat = $2 and status = 'dead'`,
      [id, beat],
    );
  }

  /** After the balances are told: a process is never `swept` whose postings may still be unknown. */
  private async conclude(row: ProcessRow, swept: Swept): Promise<void> {
    if (endedBy(swept) > 0) return;
    // A dead process that beats was only paused: what it opens before it leaves comes after this look.
    const wasQuiet = this.quiet.get(row.id)?.beat === row.beat;
    if (swept.refused === 0 && wasQuiet) await this.finish(row);
    else this.quiet.set(row.id, { beat: row.beat, sinceMs: this.clock.monotonicMs() });
  }

  /** Where the open charges of the process begin; undefined where it beat meanwhile, or was swept by somebody else. */
  private mark({ id, beat }: ProcessRow): Promise<string | undefined> {
    const marking = async (client: PoolClient): Promise<string | undefined> => {
      await client.query(`set local lock_timeout = ${MARK_LOCK_MS}`);
      const { rows } = await client.query<{ oldest_open_id: string }>(
        `update gateway_process set status = 'dead'
          where id = $1 and beat = $2 and status in ('alive', 'dead') returning oldest_open_id`,
        [id, beat],
      );
      return rows[0]?.oldest_open_id;
    };
    // A mark that was not to be had is for the next round: the other dead ones wait behind this one.
    return withTransaction(this.pool, marking, { attempts: 1 });
  }

  private async finish({ id, beat }: ProcessRow): Promise<void> {
    await this.charges.forget(id, KEEP_ENDED_DAYS);
    const { rowCount } = await this.pool.query(
      `update gateway_process set status = 'swept' where id = $1 and beat = $2 and status = 'dead'`,
      [id, beat],
    );
    if (rowCount === 0) return;
    this.quiet.delete(id);
    this.logger.log(`process ${id} is swept`);
    await this.pool.query(
      `delete from gateway_process
        where status in ('swept', 'ended') and beat_at < now() - make_interval(days => $1)`,
      [KEEP_ENDED_DAYS],
    );
  }
}

function endedBy({ charged, voided, orphaned, finished }: Swept): number {
  return charged + voided + orphaned + finished;
}
