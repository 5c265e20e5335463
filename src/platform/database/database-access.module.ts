import { Inject, Module, type OnApplicationShutdown } from '@nestjs/common';
import { Pool } from 'pg';
import { Settings } from '../config/settings';
import { CHANGE_FEED_TIMING, ChangeFeed, DEFAULT_CHANGE_FEED_TIMING } from './change-feed';
import { DATABASE_ACCESS, type DatabaseAccess } from './pg-connection';
import { createPgPool, PG_POOL } from './pg-pool';
import { prepareDatabase } from './prepare-database';

/**
 * Somebody waits for what the hot path asks: a row that stays locked is an error soon. withTransaction tries five times, so
 * that a caller knows within two seconds; a lock that is held for a statement or two is waited for.
 */
const LOCK_MS = 300;

/** Everything here waits for DATABASE_ACCESS: a database that was checked and migrated. */
@Module({
  providers: [
    { provide: DATABASE_ACCESS, inject: [Settings], useFactory: prepareDatabase },
    {
      provide: PG_POOL,
      inject: [DATABASE_ACCESS, Settings],
      useFactory: (access: DatabaseAccess, settings: Settings) =>
        createPgPool(access, settings.databasePoolSize, {
          applicationName: 'tollgate',
          statementMs: settings.databaseStatementMs,
          lockMs: LOCK_MS,
        }),
    },
    { provide: CHANGE_FEED_TIMING, useValue: DEFAULT_CHANGE_FEED_TIMING },
    ChangeFeed,
  ],
  exports: [DATABASE_ACCESS, PG_POOL, ChangeFeed],
})
export class DatabaseAccessModule implements OnApplicationShutdown {
  constructor(@Inject(PG_POOL) private readonly pool: Pool) {}

  /** The last hook there is: whatever was flushed on the way down has used the pool before. */
  async onApplicationShutdown(): Promise<void> {
    await this.pool.end();
  }
}
