import type { Pool } from 'pg';
import { calendarWindow } from '../../kernel/windows';
import { countRequests } from '../counted-requests';
import type { CallerLimits } from '../scopes/caller-limits';
import { readCommitted } from './tenant-ledger';

/**
 * Opens counters that a projection has not met: what Postgres has of each, or what it begins with there from now on. A
 * limit counts from when it is first set; the tenant's request quotas count their whole current window. Safe to repeat,
 * and for two at once: the first row stands.
 *
 * What committed charges came to is all there is of such a counter. A charge that was open when the projection was laid
 * names its counters, so they were laid with it; one that was reserved in it since has met them there; of an older epoch
 * none comes any more. So it is the same whenever it is read after that, until the projection has met the counter.
 *
 * @param nowMs by the clock that picks the windows: a gateway's own may be in another day
 * @returns start:end:used by name
 */
export async function openCounters(
  pool: Pool,
  limits: CallerLimits,
  names: readonly string[],
  nowMs: number,
): Promise<ReadonlyMap<string, string>> {
  const known = await readCommitted(pool, limits.tenantId, names);
  const missing = names.filter((name) => !known.has(name));
  if (missing.length === 0) return known;
  const seeds = await requestSeeds(pool, limits, missing, nowMs);
  const rows = missing.map((counter) => ({ counter, ...(seeds.get(counter) ?? { startMs: 0, endMs: 0, used: 0n }) }));
  await pool.query(
    `insert into quota_counter (tenant_id, counter, window_start_ms, window_end_ms, used)
     select $1, r.* from unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) r on conflict do nothing`,
    [
      limits.tenantId,
      rows.map(({ counter }) => counter),
      rows.map(({ startMs }) => startMs),
      rows.map(({ endMs }) => endMs),
      rows.map(({ used }) => used.toString()),
    ],
  );
  return readCommitted(pool, limits.tenantId, names);
}

type Seed = Readonly<{ startMs: number; endMs: number; used: bigint }>;

/** Requests of today and this month that were made while no quota was set. */
async function requestSeeds(
  pool: Pool,
  { tenantId, timezone }: CallerLimits,
  names: readonly string[],
  nowMs: number,
): Promise<ReadonlyMap<string, Seed>> {
  if (!names.includes('day') && !names.includes('month')) return new Map();
  const day = calendarWindow(nowMs, timezone, 'day');
  const month = calendarWindow(nowMs, timezone, 'month');
  const { today, thisMonth } = await countRequests(pool, tenantId, day, month);
  return new Map<string, Seed>([
    ['day', { ...day, used: BigInt(today) }],
    ['month', { ...month, used: BigInt(thisMonth) }],
  ]);
}
