import { Inject, Injectable } from '@nestjs/common';
import type { Pool, PoolClient } from 'pg';
import { CLOCK, type Clock } from '../../kernel/clock';
import { type NanoUsd, nanoUsd } from '../../kernel/money';
import { PG_POOL } from '../../platform/database/pg-pool';
import { withTransaction } from '../../platform/database/with-transaction';
import { RedisConnection } from '../../platform/redis/redis-connection';
import { ScriptRegistry } from '../../platform/redis/script-registry';
import { EpochAuthority } from '../epoch-authority';
import { parseHoldEntry } from '../hold-entry';
import { quotaKey } from '../quota-keys';
import { QuotaUnavailableError } from '../quota-store.port';
import { activate, type LaidItem, markOf, type TakenApart, TenantInstall, waitingOf } from './tenant-install';
import { lockWallet, readCommitted, readOpenHolds } from './tenant-ledger';

/** Well above what the work under the wallet's lock may take; a process that stands still must not keep it. */
const LOCK_ENDS_AFTER_MS = 5_000;
/** Longer than the hot path waits for a lock: the tenant may be busy, and so may its other rebuilds be. */
const LOCK_WAIT_MS = 1_500;
/** Of the projection's epoch: one more, where this process has not heard of it yet. */
const MAX_EPOCHS = 2;
const COUNTERS_A_SCAN = 1_000;
/** A counter of which the ledger knows nothing: somebody wrote it. */
const NEVER_COUNTED = '0:0:0';

interface Rebuilt {
  readonly state: 'rebuilt';
  readonly epoch: bigint;
  readonly before: { readonly posted: NanoUsd; readonly held: NanoUsd };
  readonly after: { readonly posted: NanoUsd; readonly held: NanoUsd };
  /** Open holds that Redis did not have, and ended ones that it still had. */
  readonly holdsAdded: number;
  readonly holdsRemoved: number;
}

/**
 * - not_projected: there is no current projection; it is made from the ledger when it is used;
 * - discarded: it was not whole, and nothing of its epoch can be trusted: every tenant is made anew in `epoch`.
 */
export type RebuildReport =
  { readonly state: 'not_projected' } | { readonly state: 'discarded'; readonly epoch: bigint } | Rebuilt;

/** What the transaction under the wallet's lock left behind; 'ready' is an install whose mark it committed. */
type Corrected =
  | Exclude<TakenApart, { readonly state: 'taken' }>
  | { readonly state: 'ready'; readonly installId: string; readonly report: Rebuilt };

/**
 * Corrects one tenant's current projection to what the ledger says, on command, while calls go on. Under the wallet's lock
 * no charge ends; holds that have no row yet are in Redis alone and stay, as long as nobody releases them. Until it is laid
 * whoever would reserve finds the tenant cold and waits for that lock.
 *
 * It is an install over what is there (TenantInstall), and where it ends half way it is lost like any other: the next use
 * finds neither an active projection nor the marked install, and raises the epoch. Where nothing was taken apart yet,
 * nothing has changed.
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

  /** Throws QuotaUnavailableError where Redis or Postgres is away. While Postgres decides nothing is projected. */
  async rebuild(tenantId: string): Promise<RebuildReport> {
    try {
      for (let tried = 0; tried < MAX_EPOCHS; tried += 1) {
        const report = await this.rebuildIn(tenantId);
        if (report) return report;
      }
      throw new Error('the projection is of an epoch that this process does not know');
    } catch (error) {
      if (error instanceof QuotaUnavailableError) throw error;
      throw new QuotaUnavailableError('the tenant could not be rebuilt', { cause: error });
    }
  }

  /** Undefined where the projection was of a newer epoch than ours, which has been read since. */
  private async rebuildIn(tenantId: string): Promise<RebuildReport | undefined> {
    await this.epochs.behind;
    if (this.epochs.mode === 'postgres') return { state: 'not_projected' };
    const { whyNotReady } = this.connection;
    if (whyNotReady !== undefined) throw new QuotaUnavailableError(whyNotReady);
    const epoch = this.epochs.current;
    const corrected = await withTransaction(this.pool, (client) => this.correct(client, tenantId, epoch), {
      attempts: 1,
    });
    switch (corrected.state) {
      case 'ready':
        await activate(this.scripts, tenantId, epoch, corrected.installId);
        return corrected.report;
      case 'damaged':
        await this.epochs.raiseBeyond(epoch, `a rebuild found the projection of tenant ${tenantId} damaged`);
        return { state: 'discarded', epoch: this.epochs.current };
      case 'late':
        throw new Error('Redis was told too late');
      case 'epoch':
        if (corrected.found === '' || BigInt(corrected.found) < epoch) return { state: 'not_projected' };
        await this.epochs.refresh();
        return undefined;
    }
  }

  private async correct(client: PoolClient, tenantId: string, epoch: bigint): Promise<Corrected> {
    await client.query(
      `set local idle_in_transaction_session_timeout = ${LOCK_ENDS_AFTER_MS}; set local lock_timeout = ${LOCK_WAIT_MS}`,
    );
    const balance = await lockWallet(client, tenantId);
    const mark = await markOf(client, tenantId);
    // The current projection is on another server: with its mark gone nobody would know when it is lost.
    if (mark && mark.epoch > epoch) return { state: 'epoch', found: mark.epoch.toString(), waiting: '' };
    const install = new TenantInstall(this.connection, this.scripts, tenantId, epoch, this.clock);
    await install.readServerClock();
    let taken = await install.takeApart(balance);
    if (taken.state === 'epoch' && mark && taken.waiting === waitingOf(epoch, mark.installId)) {
      await activate(this.scripts, tenantId, epoch, mark.installId);
      taken = await install.takeApart(balance);
    }
    if (taken.state !== 'taken') return isUnreadable(taken) ? { state: 'damaged' } : taken;
    const { held, holdsAdded, holdsRemoved } = await install.lay(await this.partsOf(client, tenantId, taken.holds));
    await install.mark(client);
    const { before } = taken;
    const report: Rebuilt = {
      state: 'rebuilt',
      epoch,
      before: { posted: nanoUsd(before.posted), held: nanoUsd(before.held) },
      after: { posted: nanoUsd(balance.posted_nano_usd), held: nanoUsd(held) },
      holdsAdded,
      holdsRemoved,
    };
    return { state: 'ready', installId: install.id, report };
  }

  /** Of a projection whose holds were taken apart: all that it is to have. */
  private async partsOf(
    client: PoolClient,
    tenantId: string,
    known: ReadonlyMap<string, string>,
  ): Promise<readonly LaidItem[]> {
    const met = await this.metCounters(tenantId);
    // Before the open rows are read: a hold whose row comes in between is an open one.
    const ended = await endedOf(client, [...known.keys()]);
    const { open, counters } = await readOpenHolds(client, tenantId);
    const openIds = new Set(open.map(({ id }) => id));
    const rowless = [...known].filter(([id]) => !openIds.has(id) && !ended.has(id));
    const counted = rowless.flatMap(([, entry]) => parseHoldEntry(entry).counted.map(({ counter }) => counter));
    const named = [...new Set([...met, ...counters, ...counted])];
    const committed = await readCommitted(client, tenantId, named);
    return [
      ...[...committed].map(([name, value]): LaidItem => ({ kind: 'counter', name, value })),
      ...met
        .filter((name) => !committed.has(name))
        .map((name): LaidItem => ({ kind: 'counter', name, value: NEVER_COUNTED })),
      ...[...ended].map((name): LaidItem => ({ kind: 'ended', name, value: '' })),
      // Redis may have raised a hold whose row waits for the wallet, and knows its rolling counters.
      ...open.map(({ id, entry }): LaidItem => ({ kind: 'open', name: id, value: known.get(id) ?? entry })),
      ...rowless.map(([name, value]): LaidItem => ({ kind: 'rowless', name, value })),
    ];
  }

  private async metCounters(tenantId: string): Promise<readonly string[]> {
    const names = new Set<string>();
    let cursor = '0';
    do {
      const [next, fields] = await this.connection.client.hscan(
        quotaKey(tenantId),
        cursor,
        'MATCH',
        'c:*',
        'COUNT',
        COUNTERS_A_SCAN,
      );
      for (let at = 0; at < fields.length; at += 2) names.add((fields[at] ?? '').slice('c:'.length));
      cursor = next;
    } while (cursor !== '0');
    return [...names];
  }
}

/** An epoch that is no number: somebody wrote over it. */
function isUnreadable(taken: Exclude<TakenApart, { readonly state: 'taken' }>): boolean {
  return taken.state === 'epoch' && !/^\d*$/.test(taken.found);
}

/** Of the holds Redis has, those whose charge has ended. */
async function endedOf(client: PoolClient, holdIds: readonly string[]): Promise<ReadonlySet<string>> {
  const { rows } = await client.query<{ id: string }>(
    `select id from billing_transaction where id = any ($1) and status <> 'PENDING'`,
    [holdIds],
  );
  return new Set(rows.map(({ id }) => id));
}
