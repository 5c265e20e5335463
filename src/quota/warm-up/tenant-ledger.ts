import type { Pool, PoolClient } from 'pg';
import { newId } from '../../kernel/ids';
import { nanoUsd } from '../../kernel/money';
import type { Funding } from '../scopes/scope';
import { countedOf, type FrozenScope } from '../scopes/frozen-scopes';
import { formatHoldEntry } from '../hold-entry';
import { OLDEST_OPEN_ID } from '../oldest-open-id';
import { tenantBalance, type TenantBalanceRow } from '../tenant-balance';

/** Windows that ended longer ago are not loaded: they count nothing more, by any clock that is trusted. */
const ENDED_SLACK_MS = 15 * 60_000;

export interface OpenHold {
  readonly id: string;
  /** As Redis keeps it, see hold-entry.ts. */
  readonly entry: string;
}

/** What the ledger knows of a tenant's projection. */
export interface LedgerSide {
  readonly holds: readonly OpenHold[];
  /** start:end:used by name, committed and open charges together. */
  readonly counters: ReadonlyMap<string, string>;
}

interface OpenRow {
  readonly id: string;
  readonly hold_nano_usd: string;
  readonly funding: Funding;
  readonly process_id: string | null;
  readonly created_ms: string;
  readonly balance_before_nano_usd: string | null;
  readonly scopes: readonly FrozenScope[] | null;
}

interface CounterWindow {
  startMs: number;
  endMs: number;
  used: bigint;
}

/** Creates the tenant's accounts on first use, safely under concurrency, and locks the wallet until the transaction ends. */
export async function lockWallet(client: PoolClient, tenantId: string): Promise<TenantBalanceRow> {
  const lock = `select 1 from ledger_account where tenant_id = $1 and name in ('wallet', 'promo') order by id for update`;
  const { rowCount } = await client.query(lock, [tenantId]);
  if (rowCount === 0) {
    await client.query(
      `insert into ledger_account (id, tenant_id, name, posted_nano_usd)
         values ($1, $3, 'wallet', 0), ($2, $3, 'overrun', 0) on conflict do nothing`,
      [newId(), newId(), tenantId],
    );
    await client.query(lock, [tenantId]);
  }
  return tenantBalance(client, tenantId);
}

/** Under the wallet's lock no charge ends between the reads. */
export async function readLedgerSide(
  database: Pool | PoolClient,
  tenantId: string,
  nowMs: number,
): Promise<LedgerSide> {
  const rows = await openRows(database, tenantId);
  const counters = await committedWindows(database, tenantId, nowMs, countersOf(rows));
  for (const { hold_nano_usd, scopes } of rows) {
    for (const scope of scopes ?? []) count(counters, scope, BigInt(hold_nano_usd));
  }
  return { holds: rows.map(openHoldOf), counters: formatAll(counters) };
}

/** The open holds alone, and every counter that they name. */
export async function readOpenHolds(
  database: Pool | PoolClient,
  tenantId: string,
): Promise<{ readonly open: readonly OpenHold[]; readonly counters: readonly string[] }> {
  const rows = await openRows(database, tenantId);
  return { open: rows.map(openHoldOf), counters: countersOf(rows) };
}

/** start:end:used of the committed charges alone: of every counter whose window has not ended, and of those named. */
export async function readCommitted(
  database: Pool | PoolClient,
  tenantId: string,
  nowMs: number,
  names: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  return formatAll(await committedWindows(database, tenantId, nowMs, names));
}

async function committedWindows(
  database: Pool | PoolClient,
  tenantId: string,
  nowMs: number,
  names: readonly string[],
): Promise<Map<string, CounterWindow>> {
  const { rows } = await database.query<{ counter: string; start_ms: string; end_ms: string; used: string }>(
    `select counter, window_start_ms as start_ms, window_end_ms as end_ms, used from quota_counter
      where tenant_id = $1 and (window_end_ms = 0 or window_end_ms > $2 or counter = any ($3))`,
    [tenantId, Math.floor(nowMs) - ENDED_SLACK_MS, names],
  );
  return new Map(
    rows.map((row) => [
      row.counter,
      { startMs: Number(row.start_ms), endMs: Number(row.end_ms), used: BigInt(row.used) },
    ]),
  );
}

function countersOf(rows: readonly OpenRow[]): readonly string[] {
  return [...new Set(rows.flatMap(({ scopes }) => (scopes ?? []).map(([counter]) => counter)))];
}

function formatAll(windows: ReadonlyMap<string, CounterWindow>): ReadonlyMap<string, string> {
  return new Map([...windows].map(([name, window]) => [name, formatCounter(window)]));
}

export function formatCounter({ startMs, endMs, used }: Readonly<CounterWindow>): string {
  return `${startMs}:${endMs}:${used}`;
}

/** A newer window follows an older one, whichever charge is met first. */
function count(counters: Map<string, CounterWindow>, frozen: FrozenScope, hold: bigint): void {
  const [counter, measure, startMs, endMs] = frozen;
  const part = measure === 'u' ? hold : 1n;
  const known = counters.get(counter);
  if (!known || known.startMs < startMs) counters.set(counter, { startMs, endMs, used: part });
  else if (known.startMs === startMs) known.used += part;
}

async function openRows(database: Pool | PoolClient, tenantId: string): Promise<readonly OpenRow[]> {
  const { rows } = await database.query<OpenRow>(
    `select id, hold_nano_usd, funding, process_id, balance_before_nano_usd, scopes,
            (extract(epoch from created_at) * 1000)::bigint as created_ms
       from billing_transaction
      where tenant_id = $1 and status = 'PENDING'
        and trace_id >= ${OLDEST_OPEN_ID}
      order by id`,
    [tenantId],
  );
  return rows;
}

function openHoldOf(row: OpenRow): OpenHold {
  const entry = formatHoldEntry({
    amount: nanoUsd(row.hold_nano_usd),
    funding: row.funding,
    // Rolling counters are not rebuilt: there is nothing to correct.
    tokens: 0,
    processId: row.process_id ?? '',
    reservedAtMs: Number(row.created_ms),
    balanceBefore: nanoUsd(row.balance_before_nano_usd ?? '0'),
    counted: (row.scopes ?? []).map(countedOf),
  });
  return { id: row.id, entry };
}
