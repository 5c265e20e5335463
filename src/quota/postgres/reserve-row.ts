import type { HoldRequest, PendingRow } from '../quota-store.port';
import type { RatesInProcess } from '../rates-in-process';
import type { ScopeSpec } from '../scopes/scope';
import type { ScopePlans } from '../scopes/scope-plans';
import type { ScopeArgs } from '../scopes/scope-args';

/** Above this a hold exceeds whatever any tenant can have: the database is asked for no more than it can count. */
const MOST_ASKED_NANO_USD = 10n ** 18n;

/** One row of quota_reserve; see migrations/1763800210000-reserve-in-postgres.ts. */
export interface ReserveRow extends PendingRow {
  readonly id: string;
  readonly tenant_id: string;
  readonly epoch: string;
  readonly process_id: string;
  readonly hold_nano_usd: string;
  /** What a scope that counts tokens counts. */
  readonly tokens: number;
  readonly credit_limit_nano_usd: string;
  readonly funding: 'wallet' | 'subscription';
  readonly checks: readonly ScopeArgs[];
  readonly days: readonly [start: string, end: string, nextEnd: string];
  readonly months: readonly [start: string, end: string, nextEnd: string];
  readonly offset_ms: number;
  readonly is_dry: boolean;
}

/** What quota_reserve answers of one row: whole numbers as text, counted with the use after it as a fifth part. */
export interface ReserveReply {
  readonly id: string;
  readonly status: 'ADMITTED' | 'REFUSED' | 'CLOCK' | 'UNOPENED' | 'FENCED' | 'DEAD' | 'ENDED';
  readonly now_ms: string;
  readonly hold_nano_usd: string;
  readonly balance_before_nano_usd: string | null;
  readonly funding: string | null;
  readonly counted: readonly CountedWindow[] | null;
  readonly place: number | null;
  readonly check_limit: string | null;
  readonly used: string | null;
  readonly resets_ms: string | null;
}

/** The tenant's accounts were not to be had: nothing was done, and nothing is known. */
export interface LockedReply {
  readonly id: string;
  readonly status: 'LOCKED';
}

/** A row that stood already has no use: that of its admission is history. */
export type CountedWindow = readonly [
  counter: string,
  measure: 'r' | 'u',
  startMs: number,
  endMs: number,
  used?: number,
];

export interface ReserveAttempt {
  readonly epoch: bigint;
  readonly processId: string;
  /** Around which instant calendar windows are sent; the database picks by its own clock. */
  readonly nowMs: number;
  readonly offsetMs: number;
  readonly isDry: boolean;
}

/**
 * @param plan the request's scopes in the order of the places that refuse
 * @param rates what this process has counted in those that are rolling, where there are any
 */
export function reserveRow(
  request: HoldRequest,
  plan: readonly ScopeSpec[],
  plans: ScopePlans,
  { epoch, processId, nowMs, offsetMs, isDry }: ReserveAttempt,
  rates?: RatesInProcess,
): ReserveRow {
  const { limits, amount } = request;
  return {
    ...request.pending,
    id: request.holdId,
    tenant_id: limits.tenantId,
    epoch: epoch.toString(),
    process_id: processId,
    hold_nano_usd: (amount < MOST_ASKED_NANO_USD ? amount : MOST_ASKED_NANO_USD).toString(),
    tokens: request.tokens,
    credit_limit_nano_usd: limits.creditLimit.toString(),
    funding: limits.subscription === null ? 'wallet' : 'subscription',
    checks: plans.args(plan, nowMs).map((scope) => withCount(scope, limits.tenantId, rates)),
    days: plans.windows.around(nowMs, limits.timezone, 'day').argv,
    months: plans.windows.around(nowMs, limits.timezone, 'month').argv,
    offset_ms: offsetMs,
    is_dry: isDry,
  };
}

/** Of a rolling scope the database knows nothing: the first bound says what was counted so far. */
function withCount(scope: ScopeArgs, tenantId: string, rates: RatesInProcess | undefined): ScopeArgs {
  const [kind, counter, measure, limit] = scope;
  if (kind !== 'r') return scope;
  return [kind, counter, measure, limit, (rates?.used(tenantId, counter) ?? 0).toString(), '', ''];
}
