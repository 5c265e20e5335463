import { Injectable } from '@nestjs/common';
import { messageOf } from '../../kernel/error-message';
import { RedisConnection } from '../../platform/redis/redis-connection';
import { type HoldEntry, parseHoldEntry } from '../hold-entry';
import { holdsKey, tenantsOfProcessKey } from '../quota-keys';
import { damageOf, ProjectionDamage } from './projection-damage';

export type ProcessHold = readonly [holdId: string, entry: HoldEntry];

const SECONDS_A_DAY = 86_400;

/** What one process holds in Redis, for whoever ends it in its place. Everything rejects where Redis does not answer. */
@Injectable()
export class ProcessHolds {
  constructor(
    private readonly connection: RedisConnection,
    private readonly damage: ProjectionDamage,
  ) {}

  get isReady(): boolean {
    return this.connection.isReady;
  }

  /**
   * Tenants that the process announced before it first reserved for them. None where they cannot be read: then the epoch is
   * raised, and what was open is what has a PENDING row. Throws StillDamagedError where that does not help.
   */
  async tenantsOf(processId: string): Promise<readonly string[]> {
    try {
      return await this.connection.client.smembers(tenantsOfProcessKey(processId));
    } catch (error) {
      const damage = damageOf(error);
      if (damage === undefined) throw error;
      await this.damage.discardTenantsOf(processId, damage);
      return [];
    }
  }

  /**
   * The holds of the process that the tenant has. None where one of the tenant's holds cannot be read: then the projection
   * is discarded, and what was open in it is what has a PENDING row. Throws StillDamagedError where that does not help.
   */
  async of(processId: string, tenantId: string): Promise<readonly ProcessHold[]> {
    const holds = await this.read(tenantId);
    if (typeof holds !== 'string') return holds.filter(([, entry]) => entry.processId === processId);
    await this.damage.discard(tenantId, holds);
    return [];
  }

  async forgetTenantsOf(processId: string, keptForDays: number): Promise<void> {
    await this.connection.client.expire(tenantsOfProcessKey(processId), keptForDays * SECONDS_A_DAY);
  }

  /** Or why they cannot be read. */
  private async read(tenantId: string): Promise<readonly ProcessHold[] | string> {
    let entries: Readonly<Record<string, string>>;
    try {
      entries = await this.connection.client.hgetall(holdsKey(tenantId));
    } catch (error) {
      const damage = damageOf(error);
      if (damage === undefined) throw error;
      return damage;
    }
    try {
      return Object.entries(entries).map(([holdId, text]) => [holdId, parseHoldEntry(text)]);
    } catch (error) {
      return messageOf(error);
    }
  }
}
