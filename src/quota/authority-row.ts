import { Inject, Injectable, Logger } from '@nestjs/common';
import type { Pool, PoolClient } from 'pg';
import { CLOCK, type Clock } from '../kernel/clock';
import { PG_POOL } from '../platform/database/pg-pool';
import { type TransactionOptions, withTransaction } from '../platform/database/with-transaction';

/** Who decides over quota: the one Redis server of an epoch, or Postgres itself. */
export type QuotaMode = 'redis' | 'postgres';

/** The row of quota_authority. Mode and run_id change only together with the epoch: an epoch has one decider. */
export interface Authority {
  readonly epoch: bigint;
  readonly mode: QuotaMode;
  /** The one Redis server whose projection counts; null before the first connection of all, and in mode postgres. */
  readonly runId: string | null;
  /** How it was reached by whoever made it current: for the log, it proves nothing. */
  readonly address: string | null;
}

export interface Reading extends Authority {
  /** What was committed before this, by our monotonic clock, is seen by every rebuild of this epoch. */
  readonly sinceMs: number;
}

/** Answers the row as it shall be; the same object where it shall stay. */
export type Decision = (now: Authority, client: PoolClient) => Authority | Promise<Authority>;

/**
 * A raise waits for every PENDING row that is being inserted, and nobody begins to insert another one meanwhile. Statements
 * of a slow Postgres take longer than the hot path waits for a lock, and without the raise nothing is admitted at all.
 */
const FENCE_WAIT = '2s';

/**
 * The one row that says who decides, read and changed. Raising takes the fence exclusively; inserting PENDING rows takes it
 * shared. So after a raise no row of an older epoch appears any more, and a rebuild that reads afterwards sees all there
 * will ever be.
 */
@Injectable()
export class AuthorityRow {
  private readonly logger = new Logger(AuthorityRow.name);

  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /**
   * A Postgres that does not know an epoch that was `heard` of has lost it (a restored backup, a failover to a replica that
   * was behind): what Redis has of that epoch, and of the ones before, must not be taken for what Postgres calls so next.
   */
  async read(heard: bigint, options?: TransactionOptions): Promise<Reading> {
    const startedMs = this.clock.monotonicMs();
    const { agoMs, ...authority } = await readAuthority(this.pool);
    if (authority.epoch >= heard) return { ...authority, sinceMs: startedMs - agoMs };
    return this.change(
      () => `epoch ${heard} was current and Postgres has lost it`,
      (now) => (now.epoch >= heard ? now : { ...now, epoch: heard + 1n }),
      options,
    );
  }

  /** One writer at a time, and none while a PENDING row is being inserted; what stands already changes nothing. */
  change(
    reasonOf: (before: Authority) => string,
    decide: Decision,
    options: TransactionOptions = {},
  ): Promise<Reading> {
    const work = async (client: PoolClient): Promise<Reading> => {
      await client.query(`set local lock_timeout = '${FENCE_WAIT}'`);
      await client.query(`select pg_advisory_xact_lock(quota_fence())`);
      const startedMs = this.clock.monotonicMs();
      const { agoMs, ...before } = await readAuthority(client);
      const after = await decide(before, client);
      if (after === before) return { ...before, sinceMs: startedMs - agoMs };
      await client.query(
        `update quota_authority set epoch = $1, mode = $2, run_id = $3, address = $4, changed_at = clock_timestamp()`,
        [after.epoch.toString(), after.mode, after.runId, after.address],
      );
      const decider = after.mode === before.mode ? '' : `, ${after.mode} decides`;
      this.logger.warn(`epoch ${before.epoch} → ${after.epoch}${decider}: ${reasonOf(before)}`);
      return { ...after, sinceMs: startedMs };
    };
    return withTransaction(this.pool, work, options);
  }
}

async function readAuthority(database: Pool | PoolClient): Promise<Authority & { readonly agoMs: number }> {
  const { rows } = await database.query<{
    epoch: string;
    mode: QuotaMode;
    run_id: string | null;
    address: string | null;
    ago_ms: string;
  }>(
    `select epoch, mode, run_id, address, extract(epoch from clock_timestamp() - changed_at) * 1000 as ago_ms
       from quota_authority`,
  );
  const [row] = rows;
  if (!row) throw new Error('quota_authority has no row: the migrations have not run');
  const { epoch, mode, run_id: runId, address, ago_ms: agoMs } = row;
  return { epoch: BigInt(epoch), mode, runId, address, agoMs: Number(agoMs) };
}
