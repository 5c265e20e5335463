import { Inject, Injectable } from '@nestjs/common';
import type { Pool } from 'pg';
import { CLOCK, type Clock } from '../../kernel/clock';
import { Singleflight } from '../../kernel/singleflight';
import { PG_POOL } from '../../platform/database/pg-pool';
import { RedisConnection } from '../../platform/redis/redis-connection';
import { ScriptRegistry } from '../../platform/redis/script-registry';
import { EpochAuthority } from '../epoch-authority';
import { holdsKey, quotaKey, tenantsOfProcessKey } from '../quota-keys';
import { QuotaUnavailableError } from '../quota-store.port';
import { RedisAwayError } from './redis-away.error';

/** What Redis answers that meets a value it cannot work on; LOADING, READONLY, OOM and the like are the server's. */
const DATA_ERROR = /^WRONGTYPE |^ERR .*user_script/s;
/** A projection that is damaged again within this time after it was discarded is not healed by a rebuild. */
const AGAIN_MS = 10_000;

/** What Redis has against the data it was asked about; undefined where it could not be asked, or would serve nobody. */
export function damageOf(error: unknown): string | undefined {
  const isDamage = error instanceof Error && error.name === 'ReplyError' && DATA_ERROR.test(error.message);
  return isDamage ? error.message : undefined;
}

/** What one rebuild after the other does not heal is not the projection's: it counts as Redis' own failure. */
export class StillDamagedError extends RedisAwayError {}

/**
 * What becomes of a tenant's projection that no script can work on: a key of another type, a number that is none, a hold
 * that cannot be read. Nothing of its epoch can be trusted any more, so the epoch is raised, and what is left is taken
 * away: the tenant is cold, and rebuilt from the ledger when it is used next. It is the damage of that tenant alone; the
 * server serves the others.
 *
 * Endings need not be told after that. What stands in the ledger was committed before anybody told it, so the rebuild,
 * which takes the wallet's lock after that, reads it; and a hold without a row dies with its epoch. A projection of an
 * older epoch is no one's: it is taken away without a raise.
 */
@Injectable()
export class ProjectionDamage {
  private readonly flights = new Singleflight<undefined>();
  /** When this process discarded what was current, of the last moments. */
  private readonly discardedMs = new Map<string, number>();

  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly connection: RedisConnection,
    private readonly scripts: ScriptRegistry,
    private readonly epochs: EpochAuthority,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /**
   * Afterwards the tenant has no projection that was damaged. Throws StillDamagedError where that was just done and did
   * not help, QuotaUnavailableError where Postgres or Redis does not answer.
   */
  discard(tenantId: string, damage: string): Promise<undefined> {
    return this.flights.run(tenantId, async () => {
      const installed = await this.installedIn(tenantId);
      if (installed !== undefined && installed >= this.epochs.current) {
        await this.distrust(`the projection of tenant ${tenantId}`, installed, damage);
      }
      await this.clear(tenantId);
      return undefined;
    });
  }

  /**
   * The same for the set of a process' tenants: where it held is not known any more, and a hold that has no row is over
   * with its epoch, wherever it is.
   */
  discardTenantsOf(processId: string, damage: string): Promise<undefined> {
    return this.flights.run(`process ${processId}`, async () => {
      // It may have held in an epoch of which this process has not heard.
      const current = await this.epochs.refresh().catch(undiscarded);
      await this.distrust(`the set of tenants of process ${processId}`, current, damage);
      await this.connection.client.unlink(tenantsOfProcessKey(processId)).catch(untaken);
      return undefined;
    });
  }

  private async distrust(what: string, installed: bigint, damage: string): Promise<void> {
    const nowMs = this.clock.monotonicMs();
    if (nowMs - (this.discardedMs.get(what) ?? -Infinity) < AGAIN_MS) {
      throw new StillDamagedError(`${what} is damaged again: ${damage}`, { mayHold: true });
    }
    await this.epochs.raiseBeyond(installed, `${what} is damaged: ${damage}`).catch(undiscarded);
    this.discardedMs.set(what, nowMs);
    setTimeout(() => this.discardedMs.delete(what), AGAIN_MS).unref();
  }

  /** The epoch in which its projection was made; undefined where it never was. */
  private async installedIn(tenantId: string): Promise<bigint | undefined> {
    const { rows } = await this.pool
      .query<{ epoch: string }>(`select epoch from tenant_projection where tenant_id = $1`, [tenantId])
      .catch(undiscarded);
    return rows[0] && BigInt(rows[0].epoch);
  }

  private async clear(tenantId: string): Promise<void> {
    await this.scripts
      .bind('quota_discard')(2, quotaKey(tenantId), holdsKey(tenantId), this.epochs.current.toString())
      .catch(untaken);
  }
}

function untaken(cause: unknown): never {
  throw new RedisAwayError('the damaged projection could not be taken away', { cause, mayHold: true });
}

function undiscarded(cause: unknown): never {
  throw new QuotaUnavailableError('the damaged projection could not be discarded', { cause, mayHold: true });
}
