import type { Pool } from 'pg';
import type { ServedRecord } from '../simulator/served-log';
import type { ClientRecord } from './client-log';

/** A charge as the ledger has it; amounts and tokens are exact. */
export interface LedgerRow {
  readonly id: string;
  readonly traceId: string;
  readonly tenantId: string;
  readonly processId: string | null;
  readonly type: string;
  /** Of a correction: the charge beside which it was booked. */
  readonly corrects: string | null;
  readonly status: 'PENDING' | 'COMMITTED' | 'VOIDED';
  readonly isStream: boolean;
  readonly amount: bigint;
  /** What a linked transaction gave back of it. */
  readonly refunded: bigint;
  /** Σ of its transfers from the tenant's accounts. */
  readonly moved: bigint;
  readonly transfers: number;
  readonly countingMethod: string | null;
  readonly inputUncached: bigint;
  readonly inputCached: bigint;
  readonly output: bigint;
  readonly reasoning: bigint;
  readonly endReason: string | null;
}

/** Nano-USD per million tokens, and per request: what the test set as price, not what the gateway remembers of it. */
export interface KnownPrice {
  readonly input: bigint;
  readonly output: bigint;
  readonly perRequest: bigint;
}

export interface ThreeLogs {
  readonly clients: readonly ClientRecord[];
  readonly served: readonly ServedRecord[];
  /** Every charge of the tenants under test. */
  readonly rows: readonly LedgerRow[];
  readonly price: KnownPrice;
}

export interface ThreeLogsVerdict {
  /** In words; empty when the three logs agree. */
  readonly violations: readonly string[];
  readonly answered: number;
  readonly refused: number;
  readonly unknown: number;
  readonly committed: number;
  readonly voided: number;
  readonly chargedNanoUsd: bigint;
}

/**
 * Joins what clients saw, what the upstream served and what the ledger booked, without a line of the gateway's own code:
 *
 * - answered: one COMMITTED charge, of exactly the cost of what the upstream reported
 * - refused: nothing charged, or all of it given back by the ledger (its commit was answered too late)
 * - a byte of a stream seen: a row
 * - anything else: 0 or 1, never 2
 * - nothing stays open, nothing is charged that nobody asked for, each charge moved its amount once
 * - a charge that was swept has at most one correction, and pays nothing itself then: the correction counts as its charge
 */
export function compareLogs({ clients, served, rows, price }: ThreeLogs): ThreeLogsVerdict {
  const violations: string[] = [];
  const charges = rows.filter(({ type }) => type !== 'correction');
  const corrections = Map.groupBy(
    rows.filter(({ type }) => type === 'correction'),
    ({ corrects }) => corrects ?? '',
  );
  violations.push(...judgeCorrections(corrections, new Map(charges.map((row) => [row.id, row]))));
  const rowOf = new Map(charges.map((row) => [row.traceId, row]));
  const countedOf = new Map(charges.map((row) => [row.traceId, corrections.get(row.id)?.[0] ?? row]));
  const servedOf = Map.groupBy(served, ({ tag }) => tag);
  if (rowOf.size !== charges.length)
    violations.push(`${charges.length - rowOf.size} charges share a trace id with another`);
  for (const row of rows) violations.push(...judgeRow(row));
  for (const client of clients) {
    const row = client.traceId === undefined ? undefined : countedOf.get(client.traceId);
    const calls = servedOf.get(client.tag) ?? [];
    violations.push(...judgeClient(client, row, calls, price).map((what) => `${nameOf(client)}: ${what}`));
  }
  const committed = rows.filter(({ status }) => status === 'COMMITTED');
  violations.push(...judgeStrangers(clients, committed, countedOf));
  const count = (outcome: string): number => clients.filter((client) => client.outcome === outcome).length;
  return {
    violations,
    answered: count('answered'),
    refused: count('refused'),
    unknown: count('unknown'),
    committed: committed.length,
    voided: rows.filter(({ status }) => status === 'VOIDED').length,
    chargedNanoUsd: committed.reduce((sum, { amount, refunded }) => sum + amount - refunded, 0n),
  };
}

function nameOf({ tag, traceId, status }: ClientRecord): string {
  return `${tag} (${status ?? 'no head'}, trace ${traceId ?? 'unknown'})`;
}

function judgeRow(row: LedgerRow): string[] {
  const name = `charge ${row.id} (trace ${row.traceId})`;
  if (row.status === 'PENDING') return [`${name} is still open`];
  const due = row.status === 'COMMITTED' ? row.amount : 0n;
  const violations = row.moved === due ? [] : [`${name} is ${row.status} for ${row.amount}, but ${row.moved} moved`];
  // The wallet and, for what exceeds it, overrun: never more than one transfer from each.
  if (row.transfers > 2) violations.push(`${name} moved money ${row.transfers} times`);
  return violations;
}

function judgeCorrections(
  corrections: ReadonlyMap<string, readonly LedgerRow[]>,
  chargeOf: ReadonlyMap<string, LedgerRow>,
): string[] {
  const violations: string[] = [];
  for (const [id, booked] of corrections) {
    const charge = chargeOf.get(id);
    if (booked.length > 1) violations.push(`charge ${id} was corrected ${booked.length} times`);
    if (charge === undefined) violations.push(`a correction names the unknown charge ${id}`);
    else if (charge.status === 'COMMITTED' && charge.refunded !== charge.amount) {
      violations.push(`charge ${id} was corrected and still pays ${charge.amount - charge.refunded}`);
    }
  }
  return violations;
}

function judgeClient(
  client: ClientRecord,
  row: LedgerRow | undefined,
  calls: readonly ServedRecord[],
  price: KnownPrice,
): string[] {
  if (client.outcome === 'refused') {
    const kept = row?.status === 'COMMITTED' ? row.amount - row.refunded : 0n;
    return kept === 0n ? [] : [`refused, yet charged ${kept}`];
  }
  if (client.outcome === 'unknown') {
    const hasSeenStream = client.isStream && client.status === 200 && client.bytes > 0;
    return hasSeenStream && row === undefined ? ['saw a byte of a stream that has no row'] : [];
  }
  if (row?.refunded) return [`answered, yet ${row.refunded} of its charge was given back`];
  if (row?.status !== 'COMMITTED') return [`answered, but its charge is ${row?.status ?? 'absent'}`];
  const [last] = calls.slice(-1);
  if (last === undefined) return ['answered, but the upstream served nothing'];
  if (!last.wasTerminalSent) return ['answered whole, but the upstream did not send the end'];
  if (last.usage === null) return [];
  const due = costOf(last.usage, price);
  return row.amount === due
    ? []
    : [`charged ${row.amount} (${row.countingMethod ?? ''}), the upstream's usage costs ${due}`];
}

/** Charges whose trace no client knows must have a client who was told none. */
function judgeStrangers(
  clients: readonly ClientRecord[],
  committed: readonly LedgerRow[],
  countedOf: ReadonlyMap<string, LedgerRow>,
): string[] {
  const known = new Set(clients.flatMap(({ traceId }) => [traceId, countedOf.get(traceId ?? '')?.traceId]));
  const strangers = committed.filter(({ traceId }) => !known.has(traceId));
  const nameless = clients.filter(({ traceId, outcome }) => outcome === 'unknown' && traceId === undefined);
  if (strangers.length <= nameless.length) return [];
  return [`${strangers.length} charges belong to no known call; ${nameless.length} calls ended without a trace id`];
}

/** One rounding, up. */
function costOf(usage: NonNullable<ServedRecord['usage']>, price: KnownPrice): bigint {
  const tokens = BigInt(usage.prompt_tokens) * price.input + BigInt(usage.completion_tokens) * price.output;
  const millionths = tokens + price.perRequest * 1_000_000n;
  return (millionths + 999_999n) / 1_000_000n;
}

export async function readLedger(pool: Pool, tenantIds: readonly string[]): Promise<LedgerRow[]> {
  const { rows } = await pool.query<Record<string, string | null> & { is_stream: boolean }>(
    `select b.*, coalesce(t.moved, 0) as moved, coalesce(t.transfers, 0) as transfers, coalesce(r.refunded, 0) as refunded
       from billing_transaction b
       left join lateral (select sum(amount_nano_usd) as moved, count(*) as transfers
                            from ledger_transfer where transaction_id = b.id) t on true
       left join lateral (select sum(g.amount_nano_usd) as refunded
                            from billing_transaction l
                            join ledger_transfer g on g.transaction_id = l.id and g.kind in ('refund', 'credit_note')
                           where l.original_transaction_id = b.id) r on true
      where b.tenant_id = any ($1) and b.type in ('charge', 'correction') order by b.id`,
    [tenantIds],
  );
  return rows.map((row) => ({
    id: row.id ?? '',
    traceId: row.trace_id ?? '',
    tenantId: row.tenant_id ?? '',
    processId: row.process_id ?? null,
    type: row.type ?? '',
    corrects: /^late settle of charge (\S+)$/.exec(row.description ?? '')?.[1] ?? null,
    status: row.status as LedgerRow['status'],
    isStream: row.is_stream,
    amount: BigInt(row.amount_nano_usd ?? 0),
    refunded: BigInt(row.refunded ?? 0),
    moved: BigInt(row.moved ?? 0),
    transfers: Number(row.transfers),
    countingMethod: row.counting_method ?? null,
    inputUncached: BigInt(row.tokens_input_uncached ?? 0),
    inputCached: BigInt(row.tokens_input_cached ?? 0),
    output: BigInt(row.tokens_output ?? 0),
    reasoning: BigInt(row.tokens_reasoning ?? 0),
    endReason: row.end_reason ?? null,
  }));
}
