/**
 * SQL: every open charge has a trace id ≥ this, as of the last beat of each process that may have one. With it, open
 * charges are an index range of the recent past, not a tenant's history. Where no process may have any, it bounds nothing.
 * A row that would be below it lowers it as it is inserted (process_lower_watermarks). That no charge stays open below it
 * is proved by invariant I3.
 */
export const OLDEST_OPEN_ID = `coalesce(
  (select oldest_open_id from gateway_process where status in ('alive', 'dead') order by oldest_open_id limit 1),
  '00000000-0000-0000-0000-000000000000'::uuid)`;
