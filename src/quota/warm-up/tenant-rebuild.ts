import { Inject, Injectable } from '@nestjs/common';
import type { Pool, PoolClient } from 'pg';
import { CLOCK, type Clock } from '../../kernel/clock';
import { type NanoUsd, nanoUsd } from '../../kernel/money';
import { PG_POOL } from '../../platform/database/pg-pool';
import { withTransaction } from '../../platform/database/with-transaction';
import { BEGINS_WITHIN_MS, RedisConnection } from '../../platform/redis/redis-connection';
import { ScriptRegistry } from '../../platform/redis/script-registry';
import { EpochAuthority } from '../epoch-authority';
import { holdsKey, quotaKey } from '../quota-keys';
import { QuotaUnavailableError } from '../quota-store.port';
import { lockWallet, readCommitted, readOpenHolds } from './tenant-ledger';

/** Well above what the work under the wallet's lock may take; a process that stands still must not keep it. */
const LOCK_ENDS_AFTER_MS = 5_000;

/** 'not_projected': there is no current projection; it is made from the ledger when it is used. */
export type RebuildReport =
  | { readonly state: 'not_projected' }
  | {
      readonly state: 'rebuilt';
      readonly epoch: bigint;
      readonly before: { readonly posted: NanoUsd; readonly held: NanoUsd };
      readonly after: { readonly posted: NanoUsd; readonly held: NanoUsd };
      /** Open holds that Redis did not have, and ended ones that it still had. */
      readonly holdsAdded: number;
      readonly holdsRemoved: number;
    };

/**
 * Corrects one tenant's current projection in place to what the ledger says, on command, while calls go on. Under the
 * wallet's lock no charge ends; holds that have no row yet are in Redis alone and stay as they are. Where the script was
 * sent and the transaction then failed, the lock may have been lost before the script ran: the epoch is raised, so that
 * nothing it left is trusted.
 */
@Injectable()
export class TenantRebuild {
  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly connection: RedisConnection,
    private readonly scripts: ScriptRegistry,
    private readonly epochs: EpochAuthority,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /** Throws QuotaUnavailableError where Redis is away. While Postgres decides nothing is projected. */
  async rebuild(tenantId: string): Promise<RebuildReport> {
    if (this.epochs.mode === 'postgres') return { state: 'not_projected' };
    const { whyNotReady } = this.connection;
    if (whyNotReady !== undefined) throw new QuotaUnavailableError(whyNotReady);
    const epoch = this.epochs.current;
    const sent = { isSent: false };
    try {
      return await withTransaction(this.pool, (client) => this.correct(client, tenantId, epoch, sent), { attempts: 1 });
    } catch (error) {
      if (sent.isSent) await this.epochs.raiseBeyond(epoch, `a rebuild of tenant ${tenantId} was cut off`);
      throw new QuotaUnavailableError('the tenant could not be rebuilt', { cause: error });
    }
  }

  private async correct(
    client: PoolClient,
    tenantId: string,
    epoch: bigint,
    sent: { isSent: boolean },
  ): Promise<RebuildReport> {
    await client.query(`set local idle_in_transaction_session_timeout = ${LOCK_ENDS_AFTER_MS}`);
    const balance = await lockWallet(client, tenantId);
    const [[seconds, micros], known] = await Promise.all([
      this.connection.client.time(),
      this.connection.client.hkeys(holdsKey(tenantId)),
    ]);
    const redisNowMs = Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
    const holds = await readOpenHolds(client, tenantId);
    const counters = await readCommitted(client, tenantId, redisNowMs + this.clock.offsetMs, holds.counters);
    const ended = await endedOf(client, known);
    sent.isSent = true;
    const reply = await this.scripts.bind('quota_rebuild')(
      2,
      quotaKey(tenantId),
      holdsKey(tenantId),
      epoch.toString(),
      (redisNowMs + BEGINS_WITHIN_MS).toString(),
      balance.posted_nano_usd,
      balance.version,
      counters.size.toString(),
      holds.open.length.toString(),
      ...[...counters].flat(),
      ...holds.open.flatMap(({ id, entry }) => [id, entry]),
      ...ended,
    );
    return reportOf(epoch, typeof reply === 'number' ? [] : reply);
  }
}

/** Of the holds Redis has, those whose charge has ended. */
async function endedOf(client: PoolClient, holdIds: readonly string[]): Promise<readonly string[]> {
  const { rows } = await client.query<{ id: string }>(
    `select id from billing_transaction where id = any ($1) and status <> 'PENDING'`,
    [holdIds],
  );
  return rows.map(({ id }) => id);
}

function reportOf(epoch: bigint, reply: readonly string[]): RebuildReport {
  const [state, postedBefore = '0', heldBefore = '0', posted = '0', held = '0', added, removed] = reply;
  if (state === 'EPOCH') return { state: 'not_projected' };
  if (state !== 'REBUILT') throw new Error(`quota_rebuild answered ${String(state)}`);
  return {
    state: 'rebuilt',
    epoch,
    before: {
      posted: nanoUsd(postedBefore === '' ? '0' : postedBefore),
      held: nanoUsd(heldBefore === '' ? '0' : heldBefore),
    },
    after: { posted: nanoUsd(posted), held: nanoUsd(held) },
    holdsAdded: Number(added),
    holdsRemoved: Number(removed),
  };
}
