import { Injectable } from '@nestjs/common';
import type { QuotaMode } from '../quota/authority-row';
import { EpochAuthority } from '../quota/epoch-authority';
import { RedisConnection } from '../platform/redis/redis-connection';

/** Who decides over quota, as far as this process last knew. */
@Injectable()
export class QuotaAuthority {
  constructor(
    private readonly epochs: EpochAuthority,
    private readonly redis: RedisConnection,
  ) {}

  get mode(): QuotaMode {
    return this.epochs.lastMode;
  }

  /** False with REDIS_URL=none: nothing of this process leans on Redis. */
  get hasRedis(): boolean {
    return !this.redis.isNone;
  }
}
