import { Injectable } from '@nestjs/common';
import { RedisConnection } from '../platform/redis/redis-connection';
import type { DependencyCheck } from './dependency-check';

@Injectable()
export class RedisCheck implements DependencyCheck {
  readonly name = 'redis';

  constructor(private readonly redis: RedisConnection) {}

  async check(): Promise<Record<string, never>> {
    await this.redis.ping();
    if (!this.redis.isReady) throw new Error('the server behind the connection has not been checked');
    return {};
  }
}
