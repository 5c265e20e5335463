import type { ClientConfig } from 'pg';

/** Where the database is, and the role under which the gateway works in it (absent: the URL's own user). */
export interface DatabaseAccess {
  readonly url: string;
  readonly role?: string;
}

export const DATABASE_ACCESS = Symbol('DatabaseAccess');

export const APPLICATION_ROLE = 'tollgate_app';

const CONNECT_MS = 5_000;
const KEEPALIVE_MS = 10_000;
/** How much longer the client waits than Postgres works: beyond it the network ate the answer. */
const ANSWER_SLACK_MS = 2_000;

export interface ConnectionLimits {
  readonly applicationName: string;
  /** Unset: a statement may take for ever (migrations). */
  readonly statementMs?: number;
  /** How long a statement waits for a lock (SQLSTATE 55P03 after that). Unset: as the server is configured. */
  readonly lockMs?: number;
}

/**
 * Every statement sees what was committed before it: the functions that write money insert on conflict and then read again
 * who was there, and read the fence once they hold it. A server or database may be configured otherwise.
 */
const ISOLATION = '-c default_transaction_isolation=read\\ committed';

/** Driver options of every connection the product opens. */
export function pgConnection(access: DatabaseAccess, limits: ConnectionLimits): ClientConfig {
  const url = new URL(access.url);
  // The driver lets options in the URL replace those beside it: both are wanted, so the URL's are moved over.
  const options = [
    url.searchParams.get('options'),
    ISOLATION,
    access.role === undefined ? null : `-c role=${access.role}`,
    limits.lockMs === undefined ? null : `-c lock_timeout=${limits.lockMs}`,
  ];
  url.searchParams.delete('options');
  return {
    connectionString: url.toString(),
    options: options.filter((option) => option !== null).join(' '),
    application_name: limits.applicationName,
    connectionTimeoutMillis: CONNECT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_MS,
    ...(limits.statementMs === undefined
      ? {}
      : { statement_timeout: limits.statementMs, query_timeout: limits.statementMs + ANSWER_SLACK_MS }),
  };
}
