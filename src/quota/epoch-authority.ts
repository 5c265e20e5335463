import { Inject, Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import type { Pool } from 'pg';
import { ChangeFeed } from '../platform/database/change-feed';
import { PG_POOL } from '../platform/database/pg-pool';
import { withTransaction } from '../platform/database/with-transaction';
import type { RedisServer } from '../platform/redis/redis-connection';

interface Authority {
  readonly epoch: bigint;
  /** Redis address → run_id of the server process last seen there. */
  readonly masters: Readonly<Record<string, string>>;
}

/**
 * Which projection of the ledger is current. Postgres stores the epoch and the run_id of each Redis master; whoever meets
 * another run_id, or finds that a projection of this epoch was lost, raises it. A hold of an older epoch can no longer
 * get its PENDING row (the fence in billing_admit), and every tenant is rebuilt on first use.
 *
 * Raising takes the fence exclusively; inserting PENDING rows takes it shared. So after a raise no row of an older epoch
 * appears any more, and a rebuild that reads afterwards sees all there will ever be.
 */
@Injectable()
export class EpochAuthority implements OnModuleInit {
  private readonly logger = new Logger(EpochAuthority.name);
  private known = 0n;

  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly feed: ChangeFeed,
  ) {}

  /** A raise by another process is heard at once; where the feed missed one, scripts and the fence still tell. */
  onModuleInit(): void {
    this.feed.subscribe('quota_authority', {
      changed: (epoch) => {
        this.learn(BigInt(epoch));
      },
      lost: () => {
        this.refresh().catch((error: unknown) => {
          this.logger.warn(`the epoch could not be read again: ${String(error)}`);
        });
      },
    });
  }

  /** The newest epoch this process knows; 0 until the first server was checked. */
  get current(): bigint {
    return this.known;
  }

  /** Compares the server behind a new connection with what Postgres knows of it, and raises the epoch where it differs. */
  async checkServer(server: RedisServer): Promise<void> {
    const { rows } = await this.pool.query<{ epoch: string; run_id: string | null }>(
      `select epoch, masters ->> $1 as run_id from quota_authority`,
      [server.address],
    );
    const [authority] = rows;
    if (!authority) throw new Error('quota_authority has no row: the migrations have not run');
    if (authority.run_id === server.runId) {
      this.learn(BigInt(authority.epoch));
      return;
    }
    await this.change(`Redis ${server.address} is another server process than before`, (now) =>
      now.masters[server.address] === server.runId
        ? now
        : { epoch: now.epoch + 1n, masters: { ...now.masters, [server.address]: server.runId } },
    );
  }

  /** The projection of a tenant, installed in `lostEpoch`, is gone: nothing of that epoch can be trusted any more. */
  async raiseBeyond(lostEpoch: bigint, reason: string): Promise<void> {
    await this.change(reason, (now) => (now.epoch > lostEpoch ? now : { ...now, epoch: lostEpoch + 1n }));
  }

  /** Reads the epoch again: another process may have raised it. */
  async refresh(): Promise<bigint> {
    const { rows } = await this.pool.query<{ epoch: string }>(`select epoch from quota_authority`);
    if (rows[0]) this.learn(BigInt(rows[0].epoch));
    return this.known;
  }

  /** One writer at a time, and none while a PENDING row is being inserted; what stands already changes nothing. */
  private async change(reason: string, decide: (now: Authority) => Authority): Promise<void> {
    const epoch = await withTransaction(this.pool, async (client) => {
      await client.query(`select pg_advisory_xact_lock(quota_fence())`);
      const { rows } = await client.query<{ epoch: string; masters: Record<string, string> }>(
        `select epoch, masters from quota_authority`,
      );
      const [row] = rows;
      if (!row) throw new Error('quota_authority has no row: the migrations have not run');
      const before: Authority = { epoch: BigInt(row.epoch), masters: row.masters };
      const after = decide(before);
      if (after === before) return before.epoch;
      await client.query(`update quota_authority set epoch = $1, masters = $2, changed_at = now()`, [
        after.epoch.toString(),
        JSON.stringify(after.masters),
      ]);
      this.logger.warn(`epoch ${before.epoch} → ${after.epoch}: ${reason}`);
      return after.epoch;
    });
    this.learn(epoch);
  }

  private learn(epoch: bigint): void {
    if (epoch > this.known) this.known = epoch;
  }
}
