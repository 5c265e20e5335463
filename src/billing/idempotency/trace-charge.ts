import type { Pool, PoolClient } from 'pg';
import { OWN_REASON_CODE } from '../ledger/reason-codes';
import { correctionTraceIdOf } from '../settlement/correction-id';

/** Given back because the call was not answered, or is charged otherwise: such a charge keeps no key. */
const NOT_KEPT_REASONS: ReadonlySet<string> = new Set([
  OWN_REASON_CODE.keyTakenOver,
  OWN_REASON_CODE.unanswered,
  OWN_REASON_CODE.lateSettle,
]);

export interface TraceRow {
  readonly id: string;
  readonly type: 'charge' | 'correction';
  readonly status: 'PENDING' | 'COMMITTED' | 'VOIDED';
  readonly amount_nano_usd: string;
  readonly end_reason: string | null;
  readonly credit_limit_nano_usd: string;
  /** Why all of it was given back. */
  readonly reversed_for: string | null;
}

/**
 * What a call costs its tenant now.
 *
 * - none: no row of it stands (it was refused, or has not come so far).
 * - open: its charge is PENDING.
 * - kept: it is charged, by its charge or by the correction of a late settle. A goodwill refund changes nothing.
 * - gone: it was voided, or given back because it was not answered.
 */
export type TraceState = 'none' | 'open' | 'kept' | 'gone';

export interface TraceCharge {
  readonly state: TraceState;
  readonly charge: TraceRow | undefined;
  /** Of a late settle, or what keeps one from being booked. */
  readonly correction: TraceRow | undefined;
  /** The row that is kept. */
  readonly kept: TraceRow | undefined;
}

/** What stands of the call with this trace id. */
export async function chargeOfTrace(
  database: Pool | PoolClient,
  tenantId: string,
  traceId: string,
): Promise<TraceCharge> {
  const { rows } = await database.query<TraceRow>(
    `select b.id, b.type, b.status, b.amount_nano_usd, b.end_reason, b.credit_limit_nano_usd, r.reason_code as reversed_for
       from billing_transaction b
       left join billing_transaction r on r.id = b.reversed_by
      where b.tenant_id = $1 and b.trace_id = any ($2) and b.type in ('charge', 'correction')`,
    [tenantId, [traceId, correctionTraceIdOf(traceId)]],
  );
  const charge = rows.find(({ type }) => type === 'charge');
  const correction = rows.find(({ type }) => type === 'correction');
  const kept = [correction, charge].find(isKept);
  return { state: kept ? 'kept' : stateOf(charge), charge, correction, kept };
}

function isKept(row: TraceRow | undefined): row is TraceRow {
  return row?.status === 'COMMITTED' && !NOT_KEPT_REASONS.has(row.reversed_for ?? '');
}

function stateOf(charge: TraceRow | undefined): TraceState {
  if (!charge) return 'none';
  return charge.status === 'PENDING' ? 'open' : 'gone';
}
