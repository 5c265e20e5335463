import { Injectable } from '@nestjs/common';
import { RedisConnection, type RedisServer } from '../../platform/redis/redis-connection';
import { ScriptRegistry, type ScriptReply } from '../../platform/redis/script-registry';
import { holdsKey, quotaKey, tenantsOfProcessKey } from '../quota-keys';
import { RedisAwayError } from './redis-away.error';

const SCRIPTS = [
  'quota_deduct',
  'quota_extend',
  'quota_end',
  'quota_install',
  'quota_activate',
  'quota_learn',
] as const;

/** The scripts on a tenant's projection. Everything rejects with RedisAwayError where Redis does not answer. */
@Injectable()
export class QuotaScripts {
  constructor(
    private readonly connection: RedisConnection,
    private readonly scripts: ScriptRegistry,
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
      .catch(script === 'quota_end' ? unanswered : unansweredReserve);
  }

  /** Names the tenant in the set of the process: where the sweeper looks when that process died. */
  async announce(processId: string, tenantId: string): Promise<void> {
    const { whyNotReady } = this.connection;
    if (whyNotReady !== undefined) throw new RedisAwayError(whyNotReady);
    await this.connection.client.sadd(tenantsOfProcessKey(processId), tenantId).catch(unanswered);
  }
}

function unanswered(cause: unknown): never {
  throw new RedisAwayError('Redis did not answer', { cause });
}

function unansweredReserve(cause: unknown): never {
  throw new RedisAwayError('Redis did not answer', { cause, mayHold: true });
}
