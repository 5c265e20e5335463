import type { Pool } from 'pg';

/**
 * Runs `work` in at most one process at a time: a transaction-scoped advisory lock that Postgres takes back by itself
 * when the connection dies. Answers false where another process leads. `work` must not need this connection.
 */
export async function asLeader(pool: Pool, lockName: string, work: () => Promise<void>): Promise<boolean> {
  const client = await pool.connect();
  let broken = true;
  try {
    await client.query('begin');
    const { rows } = await client.query<{ leads: boolean }>(`select pg_try_advisory_xact_lock(hashtext($1)) as leads`, [
      lockName,
    ]);
    const leads = rows[0]?.leads === true;
    if (leads) await work();
    await client.query('commit');
    broken = false;
    return leads;
  } finally {
    client.release(broken);
  }
}
