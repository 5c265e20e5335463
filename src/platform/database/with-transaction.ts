import { setTimeout as pause } from 'node:timers/promises';
import type { Pool, PoolClient, QueryConfig } from 'pg';
import { isContention } from './sql-state';

const FIRST_PAUSE_MS = 5;
const ROLLBACK: QueryConfig & { query_timeout: number } = { text: 'rollback', query_timeout: 1_000 };

export interface TransactionOptions {
  /** How often the work is tried in all. */
  readonly attempts?: number;
}

/**
 * Runs `work` in a transaction of its own connection and returns what it returned once that is committed. Where Postgres
 * says serialization failure, deadlock or lock not available, everything is rolled back and `work` runs again in a fresh
 * transaction, so it must not have effects outside of it. Any other error, and the last of those, is thrown.
 *
 * A connection that breaks during COMMIT leaves it unknown whether it happened: that error is thrown, never retried.
 */
export function withTransaction<T>(
  pool: Pool,
  work: (client: PoolClient) => Promise<T>,
  options: TransactionOptions = {},
): Promise<T> {
  return retryTransaction(() => runOnce(pool, work), options);
}

/** The same for a transaction that somebody else begins and ends: `transact` is one whole transaction. */
export async function retryTransaction<T>(
  transact: () => Promise<T>,
  { attempts = 5 }: TransactionOptions = {},
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await transact();
    } catch (error) {
      if (attempt >= attempts || !isContention(error)) throw error;
    }
    // Unequal pauses: two transactions that met in a deadlock should not meet again.
    await pause(FIRST_PAUSE_MS * 2 ** attempt * (0.5 + Math.random()));
  }
}

async function runOnce<T>(pool: Pool, work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await client.query('begin');
    const result = await work(client);
    const { command } = await client.query('commit');
    // Postgres answers COMMIT of a failed transaction with ROLLBACK, without an error.
    if (command !== 'COMMIT') throw new Error('the transaction was rolled back: a statement in it failed unnoticed');
    return result;
  } catch (error) {
    broken = await rollBack(client);
    throw error;
  } finally {
    client.release(broken);
  }
}

/** Returns the error for which the connection must not be used again, if any. */
async function rollBack(client: PoolClient): Promise<Error | undefined> {
  try {
    // A connection that is broken, or busy with a statement that timed out, does not answer: it is given up soon.
    await client.query(ROLLBACK);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error : new Error('rollback failed', { cause: error });
  }
}
