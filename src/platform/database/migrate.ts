import { Client } from 'pg';
import { DataSource } from 'typeorm';
import { MIGRATIONS } from './migrations';
import { pgConnection } from './pg-connection';
import { SQL_STATE, sqlStateOf } from './sql-state';

/** Any number that nothing else in the database locks: who holds it migrates. */
const MIGRATION_LOCK = 7_305_114_002;
/** How long a process waits for another one that migrates. */
const LOCK_WAIT_MS = 600_000;
const ATTEMPTS = 5;

/**
 * Brings the schema up to date as the URL's own user, and returns the names of the migrations that ran. Safe from
 * several processes at once: one migrates, the others wait and find nothing to do.
 */
export async function runMigrations(databaseUrl: string): Promise<string[]> {
  const connection = pgConnection({ url: databaseUrl }, { applicationName: 'tollgate-migrate' });
  const guard = new Client({ ...connection, lock_timeout: LOCK_WAIT_MS });
  // A lost guard fails the statement that waits on it; without a listener it would end the process.
  guard.on('error', () => undefined);
  await guard.connect();
  try {
    await guard.query('select pg_advisory_lock($1)', [MIGRATION_LOCK]);
    return await migrateRepeatedly(databaseUrl);
  } finally {
    await guard.end();
  }
}

/**
 * Roles belong to the whole server, the lock to one database: two databases migrated at once may collide on them. Each
 * migration is one transaction, so the loser simply starts again.
 */
async function migrateRepeatedly(databaseUrl: string): Promise<string[]> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await migrateOnce(databaseUrl);
    } catch (error) {
      if (attempt >= ATTEMPTS || !isRoleCollision(error)) throw error;
    }
  }
}

function isRoleCollision(error: unknown): boolean {
  const state = sqlStateOf(error);
  if (state === SQL_STATE.internalError)
    return error instanceof Error && error.message.includes('concurrently updated');
  return state === SQL_STATE.duplicateObject || state === SQL_STATE.uniqueViolation;
}

async function migrateOnce(databaseUrl: string): Promise<string[]> {
  const { connectionString, ...extra } = pgConnection({ url: databaseUrl }, { applicationName: 'tollgate-migrate' });
  const dataSource = new DataSource({
    type: 'postgres',
    ...(connectionString === undefined ? {} : { url: connectionString }),
    extra,
    poolSize: 1,
    installExtensions: false,
    migrations: [...MIGRATIONS],
    migrationsTransactionMode: 'each',
  });
  await dataSource.initialize();
  try {
    const done = await dataSource.runMigrations();
    return done.map((migration) => migration.name);
  } finally {
    await dataSource.destroy();
  }
}
