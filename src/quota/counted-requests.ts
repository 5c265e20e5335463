import type { Pool, PoolClient } from 'pg';
import { floorOfTime } from '../kernel/ids';
import type { CalendarWindow } from '../kernel/windows';

/** A process may make ids by a clock this far from the one that picked the window: rows are looked for from before it. */
const CLOCK_SLACK_MS = 15 * 60_000;

/** What one statement reads: it ends soon, whatever the tenant has had. */
const CALLS_A_PAGE = 20_000;

interface Page {
  readonly read: string;
  readonly last: string | null;
  readonly today: string;
  readonly this_month: string;
}

/**
 * Requests of a tenant that count in two windows, as the ledger knows them: admitted and not voided, by the windows
 * frozen at the reserve. Trace ids carry time, so this reads an index range and not a history, page by page.
 */
export async function countRequests(
  database: Pool | PoolClient,
  tenantId: string,
  day: CalendarWindow,
  month: CalendarWindow,
): Promise<{ readonly today: number; readonly thisMonth: number }> {
  let [today, thisMonth] = [0, 0];
  for (let after = floorOfTime(Math.min(day.startMs, month.startMs) - CLOCK_SLACK_MS); ;) {
    const page = await readPage(database, [tenantId, day.startMs, month.startMs, after]);
    today += Number(page?.today ?? 0);
    thisMonth += Number(page?.this_month ?? 0);
    if (!page?.last || Number(page.read) < CALLS_A_PAGE) return { today, thisMonth };
    after = page.last;
  }
}

async function readPage(database: Pool | PoolClient, values: readonly unknown[]): Promise<Page | undefined> {
  const { rows } = await database.query<Page>(PAGE, [...values]);
  return rows[0];
}

const PAGE = `
with page as materialized (
  select trace_id, day_window_start, month_window_start, type = 'charge' and status <> 'VOIDED' as counts
    from billing_transaction where tenant_id = $1 and trace_id > $4 order by trace_id limit ${CALLS_A_PAGE})
select count(*) as read, (select trace_id from page order by trace_id desc limit 1) as last,
       count(*) filter (where counts and day_window_start = to_timestamp($2::bigint / 1000.0)) as today,
       count(*) filter (where counts and month_window_start = to_timestamp($3::bigint / 1000.0)) as this_month
  from page`;
