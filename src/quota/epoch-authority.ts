import { Inject, Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import type { Pool, PoolClient } from 'pg';
import { ChangeFeed } from '../platform/database/change-feed';
import { PG_POOL } from '../platform/database/pg-pool';
import { withTransaction } from '../platform/database/with-transaction';
import { RedisConnection, type RedisServer, ServerRefused } from '../platform/redis/redis-connection';

/** The row of quota_authority. The run_id changes only together with the epoch: an epoch has one server. */
interface Authority {
  readonly epoch: bigint;
  /** The one Redis server whose projection counts; null until the first connection of all. */
  readonly runId: string | null;
  /** How it was reached by whoever made it current: for the log, it proves nothing. */
  readonly address: string | null;
}

/** Endings that could not be told wait this long for one another, so that one raise does for all. */
const RAISE_TOGETHER_MS = 1_000;

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
 * connection and reserves nothing, also where the epoch was raised by somebody with a different REDIS_URL.
 *
 *   unknown ── claims: nobody has demoted this server before our eyes ──► current ── another one claims ──► demoted
 *   demoted ── reconnects to a server that is current, or new ──► current
 *
 * A demoted server is not claimed again by a process that saw it demoted, until that process has followed to the current
 * one: two gateways with two servers would take the authority from each other for ever.
 */
@Injectable()
export class EpochAuthority implements OnModuleInit {
  private readonly logger = new Logger(EpochAuthority.name);
  /** The newest epoch whose server was the one we were connected to. */
  private known = 0n;
  /** The newest epoch heard or read of. */
  private heard = 0n;
  private catchingUp: Promise<void> | undefined;
  /** run_ids of servers that were demoted while we were connected to them. */
  private readonly demoted = new Set<string>();
  private raising: Promise<void> | undefined;

  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly feed: ChangeFeed,
    private readonly connection: RedisConnection,
  ) {}

  /** A raise by another process is heard at once; where the feed missed one, scripts and the fence still tell. */
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
  }

  /** The newest epoch of the server this process is connected to; 0 until the first server was checked. */
  get current(): bigint {
    return this.known;
  }

  /** Set while a newer epoch is known to exist but not yet whose it is: nothing is reserved before it has resolved. */
  get behind(): Promise<void> | undefined {
    return this.catchingUp;
  }

  /** Whether the server this process leads to was demoted, and no current one has been found since. */
  get isDemoted(): boolean {
    return this.demoted.size > 0;
  }

  /**
   * Accepts the server behind a new connection: it is the current one, or becomes it in a new epoch. Throws where it was
   * demoted before our eyes.
   */
  async checkServer(server: RedisServer): Promise<void> {
    let authority = await readAuthority(this.pool);
    if (authority.runId !== server.runId) {
      if (this.demoted.has(server.runId)) throw demotion(server, authority);
      authority = await this.change(
        (now) => `Redis ${server.address} is another server process than the current one at ${now.address ?? 'none'}`,
        (now) =>
          now.runId === server.runId ? now : { epoch: now.epoch + 1n, runId: server.runId, address: server.address },
      );
    }
    if (!this.learn(authority, server)) throw new Error(`epoch ${authority.epoch} is over already`);
  }

  /** The projection of a tenant, installed in `lostEpoch`, is gone: nothing of that epoch can be trusted any more. */
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

  /** Reads epoch and server again: another process may have changed them. Answers the epoch that `current` has then. */
  async refresh(): Promise<bigint> {
    this.learn(await readAuthority(this.pool), this.connection.server);
    return this.known;
  }

  private hear(epoch: bigint): void {
    if (epoch <= this.heard) return;
    this.heard = epoch;
    const reading = this.refresh()
      .then(
        () => undefined,
        // The fence refuses what is reserved in the old epoch until somebody can read the new one.
        (error: unknown) => {
          this.logger.warn(`epoch ${epoch} could not be read: ${String(error)}`);
        },
      )
      .finally(() => {
        if (this.catchingUp === reading) this.catchingUp = undefined;
      });
    this.catchingUp = reading;
  }

  /** One writer at a time, and none while a PENDING row is being inserted; what stands already changes nothing. */
  private async change(
    reasonOf: (before: Authority) => string,
    decide: (now: Authority) => Authority,
  ): Promise<Authority> {
    return withTransaction(this.pool, async (client) => {
      await client.query(`select pg_advisory_xact_lock(quota_fence())`);
      const before = await readAuthority(client);
      const after = decide(before);
      if (after === before) return before;
      await client.query(`update quota_authority set epoch = $1, run_id = $2, address = $3, changed_at = now()`, [
        after.epoch.toString(),
        after.runId,
        after.address,
      ]);
      this.logger.warn(`epoch ${before.epoch} → ${after.epoch}: ${reasonOf(before)}`);
      return after;
    });
  }

  /**
   * @param ours the server that this process is connected to, or about to accept
   * @returns false where the read was overtaken by a newer epoch and says nothing about now
   */
  private learn(authority: Authority, ours: RedisServer | undefined): boolean {
    if (authority.epoch < this.heard) return false;
    this.heard = authority.epoch;
    if (ours === undefined) return true;
    if (ours.runId === authority.runId) {
      this.known = authority.epoch;
      this.demoted.clear();
      return true;
    }
    this.demoted.add(ours.runId);
    this.connection.distrust(ours, demotion(ours, authority));
    return true;
  }
}

async function readAuthority(database: Pool | PoolClient): Promise<Authority> {
  const { rows } = await database.query<{ epoch: string; run_id: string | null; address: string | null }>(
    `select epoch, run_id, address from quota_authority`,
  );
  const [row] = rows;
  if (!row) throw new Error('quota_authority has no row: the migrations have not run');
  return { epoch: BigInt(row.epoch), runId: row.run_id, address: row.address };
}

function demotion(server: RedisServer, { epoch, address }: Authority): ServerRefused {
  return new ServerRefused(
    `another Redis server is current since epoch ${epoch}: every gateway must have the same REDIS_URL`,
    `this process leads to ${server.address}, the current one was reached at ${address ?? 'no address'}`,
  );
}
