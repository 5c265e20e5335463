import { Global, Logger, Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import type { Pool } from 'pg';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { Settings } from '../config/settings';
import { DatabaseAccessModule } from './database-access.module';
import { databaseOptions } from './database-options';
import { DATABASE_ACCESS, type DatabaseAccess } from './pg-connection';
import { survivesLostConnections } from './pg-pool';

/**
 * Postgres for everybody: PG_POOL for the hot path, ChangeFeed for caches, TypeORM repositories (`forFeature`) for the
 * control plane.
 */
@Global()
@Module({
  imports: [
    DatabaseAccessModule,
    TypeOrmModule.forRootAsync({
      imports: [DatabaseAccessModule],
      inject: [DATABASE_ACCESS, Settings],
      useFactory: (access: DatabaseAccess, settings: Settings) => databaseOptions(access, settings),
      dataSourceFactory: openDataSource,
    }),
  ],
  exports: [DatabaseAccessModule, TypeOrmModule],
})
export class DatabaseModule {}

/** TypeORM listens to its pool, and to a client only while it is lent: a client that dies in between must not kill us. */
async function openDataSource(options?: DataSourceOptions): Promise<DataSource> {
  if (!options) throw new Error('TypeORM was given no options');
  const dataSource = await new DataSource(options).initialize();
  const { master } = dataSource.driver as unknown as { readonly master: Pool };
  survivesLostConnections(master, new Logger('DataSource'));
  return dataSource;
}
