import { Injectable } from '@nestjs/common';
import { RedisConnection } from '../platform/redis/redis-connection';
import { type DependencyCheck, PublicReason } from './dependency-check';

@Injectable()
export class RedisCheck implements DependencyCheck {
  readonly name = 'redis';

  constructor(private readonly redis: RedisConnection) {}

  async check(): Promise<Record<string, never>> {
    const { whyNotReady } = this.redis;
    if (whyNotReady !== undefined) throw new PublicReason(whyNotReady);
    await this.redis.ping();
    return {};
  }
}
