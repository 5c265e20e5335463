import type { PoolClient } from 'pg';
import type { DataSource, EntityManager } from 'typeorm';
import { retryTransaction } from '../../platform/database/with-transaction';

/**
 * One transaction for a posting, what it belongs to and its audit row: entities go through `manager`, the ledger writes
 * through `client`, which is the manager's own connection. Where Postgres says serialization failure, deadlock or lock
 * not available, `work` runs again in a fresh transaction, so its effects outside of it come after the commit.
 */
export function moneyTransaction<T>(
  dataSource: DataSource,
  work: (manager: EntityManager, client: PoolClient) => Promise<T>,
): Promise<T> {
  return retryTransaction(() =>
    dataSource.transaction(async (manager) => {
      // A started transaction has a query runner, and on Postgres its connection is a client of pg's pool.
      const client = (await manager.queryRunner?.connect()) as PoolClient | undefined;
      if (!client) throw new Error('a transaction without a connection of its own');
      return work(manager, client);
    }),
  );
}
