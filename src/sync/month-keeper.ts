import { Inject, Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import { Cron } from '@nestjs/schedule';
import type { Pool } from 'pg';
import { messageOf } from '../kernel/error-message';
import {
  countStrays,
  createMonthsAhead,
  monthsAhead,
  readMonthPartitions,
} from '../platform/database/month-partitions';
import { PG_POOL } from '../platform/database/pg-pool';
import { Metrics } from '../platform/metrics/metrics';
import { asLeader } from './leader';

const DAILY = '0 17 2 * * *';

/**
 * Keeps partitions of the months to come: at boot and once a day, one process of all makes what is missing, and each tells
 * in its metrics what is there. A failure costs nothing at once: there are two months to see it in, and after those
 * rows go to DEFAULT, from where the month's partition takes them over when it is made.
 */
@Injectable()
export class MonthKeeper implements OnApplicationBootstrap {
  private readonly logger = new Logger(MonthKeeper.name);
  private isFailing = false;

  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly metrics: Metrics,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    await this.keep();
  }

  /** Never rejects. */
  @Cron(DAILY, { name: 'month-keeper', timeZone: 'UTC' })
  async keep(): Promise<void> {
    const failure = await this.make().catch((error: unknown) => messageOf(error));
    // What is there is told also where nothing could be made.
    const blindness = await this.tell().catch((error: unknown) => messageOf(error));
    const problem = failure ?? blindness;
    if (problem === undefined && this.isFailing) this.logger.log('partitions of the months to come are there again');
    if (problem !== undefined && !this.isFailing) {
      this.logger.error(`partitions of the months to come could not be made: ${problem}`);
    }
    this.isFailing = problem !== undefined;
  }

  private async make(): Promise<undefined> {
    await asLeader(this.pool, 'tollgate month keeper', async () => {
      const made = await createMonthsAhead(this.pool);
      if (made.length > 0) this.logger.log(`made partitions: ${made.join(', ')}`);
    });
  }

  private async tell(): Promise<undefined> {
    this.metrics.partitionMonthsAhead.set(monthsAhead(await readMonthPartitions(this.pool)));
    this.metrics.partitionStrays.set(await countStrays(this.pool));
  }
}
