import { Inject, Injectable, Logger } from '@nestjs/common';
import { Cron, CronExpression } from '@nestjs/schedule';
import type { Pool } from 'pg';
import { IdempotencyStore } from '../billing/idempotency/idempotency.store';
import { messageOf } from '../kernel/error-message';
import { PG_POOL } from '../platform/database/pg-pool';
import { asLeader } from './leader';

const BATCH = 500;
/** In one round: what is left is the next one's, so that nobody leads for long. */
const MAX_BATCHES = 200;

/** Deletes idempotency keys, and the answers kept with them, once they have expired. A claim does not wait for it. */
@Injectable()
export class IdempotencyExpiry {
  private readonly logger = new Logger(IdempotencyExpiry.name);
  private isFailing = false;

  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly keys: IdempotencyStore,
  ) {}

  /** Answers how many. Never rejects. */
  @Cron(CronExpression.EVERY_MINUTE, { name: 'idempotency-expiry' })
  async expire(): Promise<number> {
    let deleted = 0;
    try {
      await asLeader(this.pool, 'tollgate idempotency expiry', async () => {
        for (let batch = 0; batch < MAX_BATCHES; batch += 1) {
          const found = await this.keys.deleteExpired(BATCH);
          deleted += found;
          if (found < BATCH) return;
        }
      });
      this.isFailing = false;
    } catch (error) {
      if (!this.isFailing) this.logger.warn(`expired idempotency keys could not be deleted: ${messageOf(error)}`);
      this.isFailing = true;
    }
    return deleted;
  }
}
