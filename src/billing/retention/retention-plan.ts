import {
  MONTHLY_TABLES,
  type Month,
  type MonthlyTable,
  type MonthPartitions,
  nameOfMonth,
  parseMonth,
  partitionOf,
  type Queryable,
  readMonthPartitions,
  startOfMonth,
} from '../../platform/database/month-partitions';

/** One table's month that is to be taken out. */
export interface PlannedMonth {
  readonly table: MonthlyTable;
  readonly month: Month;
  readonly rows: number;
  readonly size: string;
}

export interface RetentionPlan {
  /** By month, the ledger's first in each. */
  readonly months: readonly PlannedMonth[];
  /** Taken out by an earlier run and kept since. */
  readonly kept: readonly string[];
  /** Why nothing may be taken out; empty where it may. */
  readonly objections: readonly string[];
}

export const DETACHED = '_detached';

/** What taking out every month before `before` would do, and what speaks against it. Changes nothing. */
export async function planRetention(database: Queryable, before: Month): Promise<RetentionPlan> {
  const partitions = await readMonthPartitions(database);
  const months: PlannedMonth[] = [];
  for (const month of monthsBefore(partitions, before)) {
    for (const table of MONTHLY_TABLES) {
      if (partitions.of[table].includes(month)) months.push(await weigh(database, table, month));
    }
  }
  const objections = [
    ...objectToOpenMonths(partitions.current, before),
    ...(await objectToGaps(database, partitions.of.ledger_transfer, before)),
    ...(await objectToOpenCharges(database, before)),
    ...(await objectToStrays(database, before)),
  ];
  return { months, kept: await keptBefore(database, before), objections };
}

/** Also the last one's whose opening balances stand; undefined where no month was ever taken out. */
export async function newestOpening(database: Queryable): Promise<Month | undefined> {
  const { rows } = await database.query<{ month: string | null }>(
    `select to_char(max(month), 'YYYY-MM') as month from ledger_opening_balance`,
  );
  return parseMonth(rows[0]?.month ?? '');
}

function monthsBefore({ of }: MonthPartitions, before: Month): Month[] {
  const all = new Set(MONTHLY_TABLES.flatMap((table) => of[table]));
  return [...all].filter((month) => month < before).sort((a, b) => a - b);
}

async function weigh(database: Queryable, table: MonthlyTable, month: Month): Promise<PlannedMonth> {
  const name = partitionOf(table, month);
  const { rows } = await database.query<{ rows: string; size: string }>(
    `select (select count(*) from ${name}) as rows, pg_size_pretty(pg_total_relation_size('${name}')) as size`,
  );
  return { table, month, rows: Number(rows[0]?.rows ?? 0), size: rows[0]?.size ?? '' };
}

function objectToOpenMonths(current: Month, before: Month): string[] {
  return before > current ? [`${nameOfMonth(current)} is not over: --before may name it, no later month`] : [];
}

/** Opening balances say what all months before came to, so none of those may be missing or still there. */
async function objectToGaps(database: Queryable, ledger: readonly Month[], before: Month): Promise<string[]> {
  const opening = await newestOpening(database);
  const [oldest] = ledger;
  if (oldest === undefined || oldest >= before) return [];
  const first = opening === undefined ? oldest : opening + 1;
  const objections: string[] = [];
  if (oldest < first) {
    objections.push(`ledger_transfer has ${nameOfMonth(oldest)}, though the opening balances after it stand already`);
  }
  for (let month = first; month < before; month++) {
    if (ledger.includes(month)) continue;
    const repair = `select create_month_partitions('${startOfMonth(month)}', 1)`;
    objections.push(`ledger_transfer has no partition of ${nameOfMonth(month)}: make it (${repair}), then run again`);
  }
  return objections;
}

async function objectToOpenCharges(database: Queryable, before: Month): Promise<string[]> {
  const { rows } = await database.query<{ n: string; oldest: string | null }>(
    `select count(*) as n, min(id::text) as oldest from billing_transaction where status = 'PENDING' and created_at < $1`,
    [startOfMonth(before)],
  );
  const n = Number(rows[0]?.n ?? 0);
  return n === 0 ? [] : [`${n} charges of those months are open (PENDING), such as ${rows[0]?.oldest ?? ''}`];
}

/** A stray of the ledger may belong anywhere; one of the logs by its id. */
async function objectToStrays(database: Queryable, before: Month): Promise<string[]> {
  const { rows } = await database.query<{ name: string; is_there: boolean }>(
    `select 'ledger_transfer' as name, exists (select from ledger_transfer_default) as is_there
     union all select 'request_log', exists (select from request_log_default where id < uuid_floor($1))
     union all select 'request_attempt', exists (select from request_attempt_default where request_id < uuid_floor($1))`,
    [startOfMonth(before)],
  );
  return rows
    .filter((row) => row.is_there)
    .map(
      ({ name }) =>
        `${name}_default has rows: make the partitions of their months (create_month_partitions), then run again`,
    );
}

async function keptBefore(database: Queryable, before: Month): Promise<string[]> {
  const { rows } = await database.query<{ name: string; month: string }>(
    `select relname as name, substring(relname from '(.{7})${DETACHED}$') as month from pg_class
      where relnamespace = 'public'::regnamespace and relkind = 'r'
        and relname ~ ('^(' || array_to_string($1::text[], '|') || ')_[0-9]{4}_[0-9]{2}${DETACHED}$')
      order by 2, 1`,
    [MONTHLY_TABLES],
  );
  return rows.filter(({ month }) => (parseMonth(month) ?? before) < before).map(({ name }) => name);
}
