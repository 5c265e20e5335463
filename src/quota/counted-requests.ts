import type { Pool, PoolClient } from 'pg';
import { floorOfTime } from '../kernel/ids';
import type { CalendarWindow } from '../kernel/windows';

/** A process may make ids by a clock this far from the one that picked the window: rows are looked for from before it. */
const CLOCK_SLACK_MS = 15 * 60_000;

/**
 * Requests of a tenant that count in two windows, as the ledger knows them: admitted and not voided, by the windows
 * frozen at the reserve. Trace ids carry time, so this reads an index range and not a history.
 */
export async function countRequests(
  database: Pool | PoolClient,
  tenantId: string,
  day: CalendarWindow,
  month: CalendarWindow,
): Promise<{ readonly today: number; readonly thisMonth: number }> {
  const { rows } = await database.query<{ today: string; this_month: string }>(
    `select count(*) filter (where day_window_start = to_timestamp($2::bigint / 1000.0)) as today,
            count(*) filter (where month_window_start = to_timestamp($3::bigint / 1000.0)) as this_month
       from billing_transaction
      where tenant_id = $1 and trace_id >= $4 and type = 'charge' and status <> 'VOIDED'`,
    [tenantId, day.startMs, month.startMs, floorOfTime(Math.min(day.startMs, month.startMs) - CLOCK_SLACK_MS)],
  );
  return { today: Number(rows[0]?.today ?? 0), thisMonth: Number(rows[0]?.this_month ?? 0) };
}
