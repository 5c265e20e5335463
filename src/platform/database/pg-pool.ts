import { Logger } from '@nestjs/common';
import { Pool, type PoolClient } from 'pg';
import { pgConnection, type ConnectionLimits, type DatabaseAccess } from './pg-connection';

/** DI token of the `pg.Pool` of the hot path. The control plane works through TypeORM's own pool. */
export const PG_POOL = Symbol('PgPool');

/** How long a caller waits for a free connection: a full pool answers with an error soon, it never hangs. */
const ACQUIRE_MS = 2_000;
const IDLE_MS = 60_000;

/** A pool whose connections may die at any moment: the query in flight fails, the process does not. */
export function createPgPool(access: DatabaseAccess, size: number, limits: ConnectionLimits): Pool {
  const pool = new Pool({
    ...pgConnection(access, limits),
    connectionTimeoutMillis: ACQUIRE_MS,
    idleTimeoutMillis: IDLE_MS,
    max: size,
  });
  survivesLostConnections(pool, new Logger('PgPool'));
  return pool;
}

/**
 * Listens to errors of a pool and of each of its clients: an 'error' event nobody listens to would end the process.
 * A loss is logged once, and once more when a connection stands again.
 */
export function survivesLostConnections(pool: Pool, logger: Logger): void {
  let isLosing = false;
  const lost = (error: Error): void => {
    if (!isLosing) logger.warn(`a connection to Postgres was lost: ${error.message}`);
    isLosing = true;
  };
  pool.on('error', lost);
  pool.on('connect', (client: PoolClient) => {
    client.on('error', lost);
    if (isLosing) logger.log('connections to Postgres stand again');
    isLosing = false;
  });
}
