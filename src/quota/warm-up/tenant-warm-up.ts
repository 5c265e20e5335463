import { Inject, Injectable, Logger } from '@nestjs/common';
import type { Pool, PoolClient } from 'pg';
import { CLOCK, type Clock } from '../../kernel/clock';
import { Singleflight } from '../../kernel/singleflight';
import { Settings } from '../../platform/config/settings';
import { PG_POOL } from '../../platform/database/pg-pool';
import { withTransaction } from '../../platform/database/with-transaction';
import { RedisConnection } from '../../platform/redis/redis-connection';
import { ScriptRegistry } from '../../platform/redis/script-registry';
import { EpochAuthority } from '../epoch-authority';
import { quotaKey } from '../quota-keys';
import { QuotaUnavailableError } from '../quota-store.port';
import type { CallerLimits } from '../scopes/caller-limits';
import { damageOf } from '../redis/projection-damage';
import { openCounters } from './counter-seeds';
import { FirstCounts, requestQuotasOf } from '../postgres/first-counts';
import { activate, type LaidItem, markOf, TenantInstall, waitingOf } from './tenant-install';
import { lockWallet, readCommitted, readOpenHolds } from './tenant-ledger';

/** Well above what the work under the wallet's lock may take; a process that stands still must not keep it. */
const LOCK_ENDS_AFTER_MS = 5_000;
/** Longer than the hot path waits for a lock: whoever has it is most likely loading the very same tenant. */
const LOCK_WAIT_MS = 1_500;

/** Longer than anybody waits for an answer of Redis. */
const LATE_ANSWERS_MS = 2_000;

/** What the transaction under the wallet's lock found or left behind; 'ready' is an install whose mark it committed. */
type Laid = { readonly state: 'stands' | 'lost' } | { readonly state: 'ready'; readonly installId: string };

/**
 * Rebuilds one tenant's projection from the ledger: posted balance and version, open holds from PENDING rows, and of the
 * counters that these name what committed charges came to and open ones hold. The others it meets when they are used
 * (counter-seeds.ts): a tenant has as many as its keys ever had limits.
 *
 *   begin; lock wallet ─► read ─► lay it in Redis, in parts (nobody reserves on it yet) ─► mark (epoch, install id); commit
 *     ─► activate
 *
 * The transaction holds the wallet row from reading to committing. Settles and voids take that row too, so none commits
 * in between, and one that commits later finds the hash and keeps it right; PENDING rows of this epoch cannot exist before
 * it is active, and older ones are fenced off. That the COMMIT succeeded proves that the lock was held until Redis had
 * answered, and only then the projection is activated, by the id of the install that the mark names.
 *
 * Where it ends half way:
 * - before the COMMIT (the process dies, Postgres restarts, Redis does not answer, the COMMIT is lost): no mark names
 *   that install, so nobody ever activates it, however late it arrives; the next one lays its own over it;
 * - after the COMMIT, before activating: the next one finds the very install that the mark names and activates it;
 * - two at once: the second waits for the wallet row, then finds the first's install and activates it too, or finds it
 *   active. An install that arrives late over one that waits for its activation makes that one look lost, see below;
 *   where parts are still to come they are refused, and the load fails.
 *
 * So whoever finds the mark of this epoch, but in Redis neither the active projection nor the marked install, knows that
 * it is gone, perhaps with holds that have no row yet: the epoch is raised. That is one raise, whatever the number of
 * tenants that lost theirs, because a raise beyond an epoch that is over changes nothing.
 *
 * One load a process and tenant at a time, and none for an answer that was on its way while it was made.
 */
@Injectable()
export class TenantWarmUp {
  private readonly logger = new Logger(TenantWarmUp.name);
  private readonly flights = new Singleflight<undefined>();
  /** When each load of the last moments had ended. */
  private readonly loadedMs = new Map<string, number>();
  private readonly firstCounts: FirstCounts;

  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly connection: RedisConnection,
    private readonly scripts: ScriptRegistry,
    private readonly epochs: EpochAuthority,
    private readonly settings: Settings,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {
    this.firstCounts = new FirstCounts(pool);
  }

  /**
   * Afterwards the projection stands in `epoch`, or a later epoch is current. Throws QuotaUnavailableError where neither
   * can be had.
   *
   * @param askedMs when Redis was asked that had no projection, by our monotonic clock: what was loaded since answers
   */
  install(limits: CallerLimits, epoch: bigint, askedMs: number): Promise<undefined> {
    const { tenantId } = limits;
    if ((this.loadedMs.get(loadOf(tenantId, epoch)) ?? -Infinity) >= askedMs) return Promise.resolve(undefined);
    return this.flights.run(tenantId, async () => {
      try {
        const laid = await withTransaction(this.pool, (client) => this.lay(client, limits, epoch), { attempts: 2 });
        if (laid.state === 'ready') await activate(this.scripts, tenantId, epoch, laid.installId);
        if (laid.state === 'lost')
          await this.epochs.raiseBeyond(epoch, `the projection of tenant ${tenantId} was lost`);
        this.remember(loadOf(tenantId, epoch));
        return undefined;
      } catch (error) {
        throw new QuotaUnavailableError('the tenant could not be loaded', { cause: error });
      }
    });
  }

  /** For a projection of `epoch` of which only a part is left: nothing of that epoch can be trusted any more. */
  discard(limits: CallerLimits, epoch: bigint): Promise<undefined> {
    return this.flights.run(limits.tenantId, async () => {
      try {
        await this.epochs.raiseBeyond(epoch, `a part of the projection of tenant ${limits.tenantId} was lost`);
        return undefined;
      } catch (error) {
        throw new QuotaUnavailableError('the damaged projection could not be discarded', { cause: error });
      }
    });
  }

  /**
   * Tells the projection of `epoch` of counters it has not met. Throws QuotaUnavailableError where Postgres or Redis does
   * not answer, or a request quota looks back for longer than a call waits.
   *
   * @param nowMs by the clock that picks the windows
   */
  learn(limits: CallerLimits, epoch: bigint, counters: readonly string[], nowMs: number): Promise<undefined> {
    const { tenantId } = limits;
    return this.flights.run(`${tenantId} ${counters.join()}`, async () => {
      try {
        const known = await this.openedCounters(limits, counters, nowMs);
        await this.scripts.bind('quota_learn')(1, quotaKey(tenantId), epoch.toString(), ...known.flat());
        return undefined;
      } catch (error) {
        throw new QuotaUnavailableError('counters could not be loaded', { cause: error });
      }
    });
  }

  /** Name and start:end:used of each. */
  private async openedCounters(
    limits: CallerLimits,
    counters: readonly string[],
    nowMs: number,
  ): Promise<readonly (readonly [string, string])[]> {
    const known = await readCommitted(this.pool, limits.tenantId, counters);
    const missing = counters.filter((counter) => !known.has(counter));
    if (missing.length === 0) return [...known];
    const quotas = requestQuotasOf(missing);
    // Whichever keys ask, the tenant's calls are read once.
    if (quotas.length > 0) await this.firstCounts.open(limits, quotas, nowMs, this.settings.billingWaitMs);
    return [...known, ...(await openCounters(this.pool, limits, missing, nowMs))];
  }

  /** For as long as an answer from before may still be on its way. */
  private remember(load: string): void {
    this.loadedMs.set(load, this.clock.monotonicMs());
    setTimeout(() => this.loadedMs.delete(load), LATE_ANSWERS_MS).unref();
  }

  private async lay(client: PoolClient, { tenantId }: CallerLimits, epoch: bigint): Promise<Laid> {
    await client.query(
      `set local idle_in_transaction_session_timeout = ${LOCK_ENDS_AFTER_MS}; set local lock_timeout = ${LOCK_WAIT_MS}`,
    );
    const balance = await lockWallet(client, tenantId);
    const install = new TenantInstall(this.connection, this.scripts, tenantId, epoch, this.clock);
    const [[standing, waiting]] = await Promise.all([
      this.connection.client.hmget(quotaKey(tenantId), 'epoch', 'installing').catch(nothingReadable),
      install.readServerClock(),
    ]);
    // Where it is no number it is no epoch, and is laid over.
    if (standing && /^\d+$/.test(standing) && BigInt(standing) >= epoch) return { state: 'stands' };
    const mark = await markOf(client, tenantId);
    if (mark && mark.epoch >= epoch) {
      const isWaiting = waiting === waitingOf(epoch, mark.installId);
      return isWaiting ? { state: 'ready', installId: mark.installId } : { state: 'lost' };
    }
    await install.begin(balance);
    const { open, counters } = await readOpenHolds(client, tenantId);
    const committed = await readCommitted(client, tenantId, counters);
    await install.lay([
      ...[...committed].map(([name, value]): LaidItem => ({ kind: 'counter', name, value })),
      ...open.map(({ id, entry }): LaidItem => ({ kind: 'open', name: id, value: entry })),
    ]);
    await install.mark(client);
    this.logger.debug(`tenant ${tenantId} is laid in epoch ${epoch} with ${open.length} open holds`);
    return { state: 'ready', installId: install.id };
  }
}

/** A key of another type holds no projection, and is laid over. */
function nothingReadable(error: unknown): readonly null[] {
  if (damageOf(error) === undefined) throw error;
  return [null, null];
}

function loadOf(tenantId: string, epoch: bigint): string {
  return `${tenantId}:${epoch}`;
}
