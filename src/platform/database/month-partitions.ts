import type { Pool } from 'pg';
import { retryTransaction } from './with-transaction';

/** Tables with a partition a month (migration monthly-partitions). */
export const MONTHLY_TABLES = ['ledger_transfer', 'request_log', 'request_attempt'] as const;
export type MonthlyTable = (typeof MONTHLY_TABLES)[number];

/** So many months after the current one have their partitions: a gateway that cannot make any has that long to be seen. */
export const MONTHS_AHEAD = 2;

/** A calendar month in UTC: months since year 0. */
export type Month = number;

export interface MonthPartitions {
  /** By the server's clock, which is the one that books. */
  readonly current: Month;
  /** Ascending. */
  readonly of: Readonly<Record<MonthlyTable, readonly Month[]>>;
}

/** What of the pool is needed, or of one connection. */
export type Queryable = Pick<Pool, 'query'>;

/** `2026-05`, or `2026_05` as a partition's name ends. */
export function parseMonth(text: string): Month | undefined {
  const found = /^(\d{4})[-_](0[1-9]|1[0-2])$/.exec(text);
  return found ? Number(found[1]) * 12 + Number(found[2]) - 1 : undefined;
}

/** `2026-05` */
export function nameOfMonth(month: Month): string {
  return `${String(Math.floor(month / 12)).padStart(4, '0')}-${String((month % 12) + 1).padStart(2, '0')}`;
}

/** First instant of the month, as Postgres reads it. */
export function startOfMonth(month: Month): string {
  return `${nameOfMonth(month)}-01T00:00:00Z`;
}

export function partitionOf(table: MonthlyTable, month: Month): string {
  return `${table}_${nameOfMonth(month).replace('-', '_')}`;
}

export async function readMonthPartitions(database: Queryable): Promise<MonthPartitions> {
  const { rows } = await database.query<{ current: string; parent: MonthlyTable | null; month: string | null }>(
    `select to_char(now() at time zone 'UTC', 'YYYY_MM') as current, a.parent, a.month
       from (select) now left join (
         select p.relname as parent, right(c.relname, 7) as month
           from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent
          where p.oid = any ($1::regclass[]) and c.relname ~ '_[0-9]{4}_[0-9]{2}$') a on true
      order by a.month`,
    [MONTHLY_TABLES],
  );
  const monthsOf = (table: MonthlyTable): readonly Month[] =>
    rows.flatMap(({ parent, month }) => (parent === table && month !== null ? (parseMonth(month) ?? []) : []));
  return {
    current: parseMonth(rows[0]?.current ?? '') ?? 0,
    of: {
      ledger_transfer: monthsOf('ledger_transfer'),
      request_log: monthsOf('request_log'),
      request_attempt: monthsOf('request_attempt'),
    },
  };
}

/** How many months in a row, after the current one, every table has a partition for; negative where the current has none. */
export function monthsAhead({ current, of }: MonthPartitions): number {
  const isThere = (month: Month): boolean => MONTHLY_TABLES.every((table) => of[table].includes(month));
  let ahead = -1;
  while (isThere(current + ahead + 1)) ahead += 1;
  return ahead;
}

/**
 * Makes the months that are missing between the newest there is and MONTHS_AHEAD from now, so that there is never a gap, and
 * answers the partitions it made. What DEFAULT has of them moves there. Safe in several processes at once.
 */
export async function createMonthsAhead(database: Queryable): Promise<readonly string[]> {
  const { current, of } = await readMonthPartitions(database);
  const newest = Math.min(...MONTHLY_TABLES.map((table) => of[table].at(-1) ?? current - 1));
  const first = Math.min(current, newest + 1);
  if (newest >= current + MONTHS_AHEAD && monthsAhead({ current, of }) >= MONTHS_AHEAD) return [];
  const { rows } = await retryTransaction(() =>
    database.query<{ name: string }>('select create_month_partitions($1, $2) as name', [
      startOfMonth(first),
      current + MONTHS_AHEAD - first + 1,
    ]),
  );
  return rows.map(({ name }) => name);
}

/** Rows that have no month to lie in: each of these counts is bounded. */
export async function countStrays(database: Queryable): Promise<number> {
  const counts = MONTHLY_TABLES.map((table) => `(select count(*) from (select from ${table}_default limit 10000) s)`);
  const { rows } = await database.query<{ n: number }>(`select (${counts.join(' + ')})::integer as n`);
  return rows[0]?.n ?? 0;
}
