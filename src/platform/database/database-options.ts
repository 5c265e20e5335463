import type { TypeOrmModuleOptions } from '@nestjs/typeorm';
import type { Settings } from '../config/settings';
import { pgConnection, type DatabaseAccess } from './pg-connection';

/** TypeORM serves the control plane: entities come from the feature modules, the schema from migrations alone. */
export function databaseOptions(access: DatabaseAccess, settings: Settings): TypeOrmModuleOptions {
  const { connectionString, ...extra } = pgConnection(access, {
    applicationName: 'tollgate-control',
    statementMs: settings.databaseStatementMs,
  });
  return {
    type: 'postgres',
    ...(connectionString === undefined ? {} : { url: connectionString }),
    extra,
    poolSize: settings.databasePoolSize,
    autoLoadEntities: true,
    synchronize: false,
    installExtensions: false,
    // A forgotten `undefined` in a where must not become "every row of every tenant".
    invalidWhereValuesBehavior: { undefined: 'throw', null: 'throw' },
    // prepareDatabase has just spoken with this server: what fails now is not cured by waiting.
    retryAttempts: 0,
  };
}
