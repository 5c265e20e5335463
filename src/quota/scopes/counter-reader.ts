import type { Pool, PoolClient } from 'pg';
import { OLDEST_OPEN_ID } from '../oldest-open-id';

/** The newest window of a counter and what was used in it; a lifetime has start and end 0. */
export interface CounterUse {
  readonly startMs: number;
  /** Exclusive. */
  readonly endMs: number;
  /** Requests or nano-USD of committed charges and of those that are open, which count what they hold. */
  readonly used: bigint;
}

/**
 * Counters of a tenant as Postgres knows them, in one snapshot; what was never counted is absent. Whether a window is
 * still the current one is the caller's question: it knows the time and the calendar. Reads only.
 */
export async function readCounters(
  database: Pool | PoolClient,
  tenantId: string,
  counters: readonly string[],
): Promise<ReadonlyMap<string, CounterUse>> {
  if (counters.length === 0) return new Map();
  const { rows } = await database.query<{ counter: string; start_ms: string; end_ms: string; used: string }>(COUNTERS, [
    tenantId,
    counters,
  ]);
  return new Map(
    rows.map(({ counter, start_ms, end_ms, used }) => [
      counter,
      { startMs: Number(start_ms), endMs: Number(end_ms), used: BigInt(used) },
    ]),
  );
}

/** A window that a newer one has followed counts no more, whichever of row and open charge has the newer one. */
const COUNTERS = `
select distinct on (p.counter) p.counter, p.start_ms, max(p.end_ms) as end_ms, sum(p.used) as used
  from (
    select c.counter, c.window_start_ms as start_ms, c.window_end_ms as end_ms, c.used::numeric as used
      from quota_counter c
     where c.tenant_id = $1 and c.counter = any ($2)
    union all
    select s.scope ->> 0, (s.scope ->> 2)::bigint, (s.scope ->> 3)::bigint,
           case s.scope ->> 1 when 'r' then 1 else b.hold_nano_usd end
      from billing_transaction b
     cross join lateral jsonb_array_elements(b.scopes) s (scope)
     where b.tenant_id = $1 and b.status = 'PENDING' and b.type = 'charge' and b.trace_id >= ${OLDEST_OPEN_ID}
       and s.scope ->> 0 = any ($2)) p
 group by p.counter, p.start_ms
 order by p.counter, p.start_ms desc`;

/** Holds of a tenant that are open, as far as their rows are written. */
export async function countOpenHolds(database: Pool | PoolClient, tenantId: string): Promise<bigint> {
  const { rows } = await database.query<{ open: string }>(
    `select count(*) as open from billing_transaction
      where tenant_id = $1 and status = 'PENDING' and type = 'charge' and trace_id >= ${OLDEST_OPEN_ID}`,
    [tenantId],
  );
  return BigInt(rows[0]?.open ?? 0);
}
