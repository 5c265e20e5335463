import { setTimeout as pause } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import { Client } from 'pg';
import { BootError } from '../config/boot-error';
import type { Settings } from '../config/settings';
import { findApplicationRole, refuseUnsafePostgres } from './boot-checks';
import { runMigrations } from './migrate';
import { pgConnection, type DatabaseAccess } from './pg-connection';
import { SQL_STATE, sqlStateOf } from './sql-state';

/** A Postgres that starts beside the gateway may need a moment. */
const WAIT_MS = 10_000;
const RETRY_MS = 250;

/**
 * Before anything uses the database: it answers, it is safe for money, its schema is up to date. Throws BootError.
 */
export async function prepareDatabase(settings: Settings): Promise<DatabaseAccess> {
  const logger = new Logger('Database');
  const url = settings.databaseUrl;
  const client = await connect(url);
  try {
    await refuseUnsafePostgres(client, settings.nodeEnv);
    const done = await runMigrations(url);
    if (done.length > 0) logger.log(`migrated: ${done.join(', ')}`);
    const role = await findApplicationRole(client);
    if (role === undefined) logger.warn('no role of its own for the gateway: triggers alone guard the ledger');
    return role === undefined ? { url } : { url, role };
  } finally {
    await client.end();
  }
}

async function connect(url: string): Promise<Client> {
  const deadlineMs = performance.now() + WAIT_MS;
  for (;;) {
    const client = new Client(pgConnection({ url }, { applicationName: 'tollgate-boot' }));
    client.on('error', () => undefined);
    try {
      await client.connect();
      return client;
    } catch (error) {
      if (performance.now() > deadlineMs || !mayPass(error)) throw unreachable(error);
    }
    await pause(RETRY_MS);
  }
}

function mayPass(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return sqlStateOf(error) === SQL_STATE.cannotConnectNow || code === 'ECONNREFUSED' || code === 'ECONNRESET';
}

function unreachable(error: unknown): BootError {
  const reason = error instanceof AggregateError ? error.errors.map(String).join(', ') : String(error);
  return new BootError(`DATABASE_URL: cannot connect to Postgres: ${reason}`, { cause: error });
}
