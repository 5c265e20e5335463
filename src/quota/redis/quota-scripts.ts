import { Injectable } from '@nestjs/common';
import { RedisConnection, type RedisServer } from '../../platform/redis/redis-connection';
import { ScriptRegistry, type ScriptReply } from '../../platform/redis/script-registry';
import { holdsKey, quotaKey, tenantsOfProcessKey } from '../quota-keys';
import { damageOf, ProjectionDamage } from './projection-damage';
import { RedisAwayError } from './redis-away.error';

const SCRIPTS = [
  'quota_deduct',
  'quota_extend',
  'quota_end',
  'quota_install',
  'quota_lay',
  'quota_activate',
  'quota_learn',
  'quota_discard',
] as const;

/** What a script answers where the tenant has no projection, and so, once it is discarded, of one that was damaged. */
const OF_NOTHING: Readonly<Record<string, ScriptReply>> = {
  quota_deduct: ['COLD'],
  quota_extend: ['GONE'],
  quota_end: 0,
};

/**
 * The scripts on a tenant's projection. Everything rejects with RedisAwayError where Redis does not answer. That it answers
 * of data which no script can work on is no failure of Redis: that projection is discarded.
 */
@Injectable()
export class QuotaScripts {
  constructor(
    private readonly connection: RedisConnection,
    private readonly scripts: ScriptRegistry,
    private readonly damage: ProjectionDamage,
  ) {
    for (const name of SCRIPTS) scripts.bind(name);
  }

  /** The server that the next script goes to; undefined while there is none. */
  get server(): RedisServer | undefined {
    return this.connection.server;
  }

  /** Every reply but the count of quota_end is an array. A reservation that was not answered may hold. */
  run(script: 'quota_deduct' | 'quota_extend', tenantId: string, args: readonly string[]): Promise<readonly string[]>;
  run(script: 'quota_end', tenantId: string, args: readonly string[]): Promise<number>;
  run(script: string, tenantId: string, args: readonly string[]): Promise<ScriptReply> {
    const { whyNotReady } = this.connection;
    if (whyNotReady !== undefined) return Promise.reject(new RedisAwayError(whyNotReady));
    return this.scripts
      .bind(script)(2, quotaKey(tenantId), holdsKey(tenantId), ...args)
      .then(
        (reply) => (isOfUnreadableEpoch(reply) ? this.discard(script, tenantId, 'its epoch is no number') : reply),
        (error: unknown) => {
          const damage = damageOf(error);
          if (damage !== undefined) return this.discard(script, tenantId, damage);
          throw new RedisAwayError('Redis did not answer', { cause: error, mayHold: script !== 'quota_end' });
        },
      );
  }

  /** Names the tenant in the set of the process: where the sweeper looks when that process died. */
  async announce(processId: string, tenantId: string): Promise<void> {
    const { whyNotReady } = this.connection;
    if (whyNotReady !== undefined) throw new RedisAwayError(whyNotReady);
    await this.add(processId, tenantId).catch((error: unknown) => this.addAnew(processId, tenantId, error));
  }

  private add(processId: string, tenantId: string): Promise<unknown> {
    return this.connection.client.sadd(tenantsOfProcessKey(processId), tenantId);
  }

  private async addAnew(processId: string, tenantId: string, error: unknown): Promise<void> {
    const damage = damageOf(error);
    if (damage === undefined) throw new RedisAwayError('Redis did not answer', { cause: error });
    await this.damage.discardTenantsOf(processId, damage);
    await this.add(processId, tenantId).catch((cause: unknown) => {
      throw new RedisAwayError('Redis did not answer', { cause });
    });
  }

  private async discard(script: string, tenantId: string, damage: string): Promise<ScriptReply> {
    await this.damage.discard(tenantId, damage);
    return OF_NOTHING[script] ?? [];
  }
}

/** Of a hash in which somebody wrote over the epoch: it would be neither current nor old, for ever. */
function isOfUnreadableEpoch(reply: ScriptReply): boolean {
  return typeof reply !== 'number' && reply[0] === 'EPOCH' && !/^\d*$/.test(reply[1] ?? '');
}
