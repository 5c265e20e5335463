import 'reflect-metadata';
import { loadDatabaseUrl } from './platform/config/load-settings';
import { runMigrations } from './platform/database/migrate';
import { messageOf } from './kernel/error-message';

/** `node dist/src/migrate.js`: brings the schema of DATABASE_URL up to date and ends. */
async function main(): Promise<void> {
  const done = await runMigrations(loadDatabaseUrl());
  process.stdout.write(done.length > 0 ? `migrated: ${done.join(', ')}\n` : 'the schema is up to date\n');
}

main().catch((error: unknown) => {
  process.stderr.write(`Tollgate could not migrate: ${messageOf(error)}\n`);
  process.exitCode = 1;
});
