import { Injectable } from '@nestjs/common';
import { RedisConnection } from '../../platform/redis/redis-connection';
import { affinityKey, type AffinitySession } from './affinity-key';
import { type AffinityState, isAffinityState } from './affinity-machine';

/** What is kept of one session. */
export interface AffinityRecord {
  readonly state: AffinityState;
  /** Of `failed` the one that failed; null of `none`. */
  readonly upstreamId: string | null;
  readonly successCount: number;
  /** Until it is `none`; null where it is. */
  readonly expiresInMs: number | null;
}

/** Redis does not answer: what it keeps cannot be told. */
export class AffinityUnreadableError extends Error {
  override readonly name = 'AffinityUnreadableError';
}

const NONE: AffinityRecord = { state: 'none', upstreamId: null, successCount: 0, expiresInMs: null };

/** Sessions for people to look at, and to forget. Throws AffinityUnreadableError while Redis is away. */
@Injectable()
export class AffinityRecords {
  constructor(private readonly connection: RedisConnection) {}

  async read(session: AffinitySession): Promise<AffinityRecord> {
    if (this.connection.isNone) return NONE;
    const key = affinityKey(session);
    const [fields, ttlMs] = await this.ask(() =>
      Promise.all([
        this.connection.client.hmget(key, 'state', 'upstream', 'success_count'),
        this.connection.client.pttl(key),
      ]),
    );
    const [state, upstreamId, count] = fields;
    if (!isAffinityState(state) || upstreamId === null || upstreamId === undefined) return NONE;
    return { state, upstreamId, successCount: Number(count ?? 0), expiresInMs: ttlMs < 0 ? null : ttlMs };
  }

  /** The session's next call begins anew. */
  async forget(session: AffinitySession): Promise<void> {
    if (this.connection.isNone) return;
    await this.ask(() => this.connection.client.del(affinityKey(session)));
  }

  private async ask<T>(command: () => Promise<T>): Promise<T> {
    const { whyNotReady } = this.connection;
    if (whyNotReady !== undefined) throw new AffinityUnreadableError(whyNotReady);
    try {
      return await command();
    } catch (error) {
      throw new AffinityUnreadableError('Redis did not answer', { cause: error });
    }
  }
}
