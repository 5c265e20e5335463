import type { Pool, PoolClient } from 'pg';
import { newId } from '../../kernel/ids';
import { nanoUsd } from '../../kernel/money';
import type { Funding } from '../scopes/scope';
import { countedOf, type FrozenScope } from '../scopes/frozen-scopes';
import { formatHoldEntry } from '../hold-entry';
import { OLDEST_OPEN_ID } from '../oldest-open-id';
import { tenantBalance, type TenantBalanceRow } from '../tenant-balance';

export interface OpenHold {
  readonly id: string;
  /** As Redis keeps it, see hold-entry.ts. */
  readonly entry: string;
}

/** The open charges of a tenant, and every counter that they name. */
export interface OpenHolds {
  readonly open: readonly OpenHold[];
  readonly counters: readonly string[];
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

interface CounterRow {
  readonly counter: string;
  readonly window_start_ms: string;
  readonly window_end_ms: string;
  readonly used: string;
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

/** Under the wallet's lock none of them ends. */
export async function readOpenHolds(database: Pool | PoolClient, tenantId: string): Promise<OpenHolds> {
  const { rows } = await database.query<OpenRow>(
    `select id, hold_nano_usd, funding, process_id, balance_before_nano_usd, scopes,
            (extract(epoch from created_at) * 1000)::bigint as created_ms
       from billing_transaction
      where tenant_id = $1 and status = 'PENDING'
        and trace_id >= ${OLDEST_OPEN_ID}
      order by id`,
    [tenantId],
  );
  const counters = new Set(rows.flatMap(({ scopes }) => (scopes ?? []).map(([counter]) => counter)));
  return { open: rows.map(openHoldOf), counters: [...counters] };
}

/**
 * start:end:used of the committed charges alone, in the newest window of each counter that is named. One that never
 * counted is absent.
 */
export async function readCommitted(
  database: Pool | PoolClient,
  tenantId: string,
  names: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  if (names.length === 0) return new Map();
  const { rows } = await database.query<CounterRow>(
    `select counter, window_start_ms, window_end_ms, used from quota_counter
      where tenant_id = $1 and counter = any ($2)`,
    [tenantId, names],
  );
  return new Map(
    rows.map(({ counter, window_start_ms, window_end_ms, used }) => [
      counter,
      `${window_start_ms}:${window_end_ms}:${used}`,
    ]),
  );
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
