import type { Pool } from 'pg';
import { messageOf } from '../../kernel/error-message';
import type { RedisConnection } from '../../platform/redis/redis-connection';
import { type HoldEntry, parseHoldEntry } from '../../quota/hold-entry';
import { OLDEST_OPEN_ID } from '../../quota/oldest-open-id';
import { holdsKey, quotaKey } from '../../quota/quota-keys';
import { damageOf } from '../../quota/redis/projection-damage';
import type { FrozenScope } from '../../quota/scopes/frozen-scopes';
import type { Funding } from '../../quota/scopes/scope';

/** One tenant as Redis has it, fields in order; see redis-scripts/quota_deduct.lua. */
export interface ProjectedSide {
  /** Why it cannot be read: a key is of another type. It has no state and no holds then. */
  readonly damage?: string;
  readonly state: Readonly<Record<string, string>>;
  readonly holds: Readonly<Record<string, string>>;
}

/** The same tenant in the ledger, in one snapshot. */
export interface LedgerSide {
  readonly posted: string;
  readonly version: string;
  readonly open: Readonly<Record<string, OpenRow>>;
  /** What committed charges have in each counter's newest window. */
  readonly counters: Readonly<Record<string, readonly [startMs: number, used: string]>>;
}

interface OpenRow {
  readonly hold: string;
  readonly funding: Funding;
  readonly scopes: readonly FrozenScope[] | null;
}

export interface Sides {
  readonly tenantId: string;
  readonly epoch: string;
  readonly projection: ProjectedSide;
  readonly ledger: LedgerSide;
}

/** What differs, in words; undefined where nothing does. */
export interface Differences {
  readonly balance: string | undefined;
  readonly counters: string | undefined;
}

export async function readProjection(redis: RedisConnection, tenantId: string): Promise<ProjectedSide> {
  const replies = await redis.client.multi().hgetall(quotaKey(tenantId)).hgetall(holdsKey(tenantId)).exec();
  for (const [error] of replies ?? []) {
    const damage = damageOf(error);
    if (damage !== undefined) return { damage, state: {}, holds: {} };
    if (error) throw error;
  }
  const [state, holds] = (replies ?? []).map(([, reply]) => inOrder(reply as Record<string, string>));
  return { state: state ?? {}, holds: holds ?? {} };
}

export async function readLedgerSide(pool: Pool, tenantId: string): Promise<LedgerSide> {
  const { rows } = await pool.query<{ side: LedgerSide }>(LEDGER_SIDE, [tenantId]);
  return rows[0]?.side ?? { posted: '0', version: '0', open: {}, counters: {} };
}

/**
 * Nothing where it is not (or no longer) installed: it is rebuilt on first use, nothing relies on it. One that cannot be
 * read was installed in this epoch.
 */
export function differencesOf(sides: Sides): Differences {
  const { damage } = sides.projection;
  if (damage !== undefined)
    return { balance: `tenant ${sides.tenantId}: it cannot be read: ${damage}`, counters: undefined };
  if (sides.projection.state.epoch !== sides.epoch) return { balance: undefined, counters: undefined };
  const balance = balanceDifference(sides);
  // Where holds and rows are not the same ones, the counters cannot agree either.
  const counters = balance === undefined ? counterDifference(sides) : undefined;
  const named = (what: string | undefined): string | undefined => what && `tenant ${sides.tenantId}: ${what}`;
  return { balance: named(balance), counters: named(counters) };
}

function balanceDifference({ projection: { state, holds }, ledger }: Sides): string | undefined {
  if (state.version !== ledger.version || state.posted !== ledger.posted) {
    return `Redis has posted ${state.posted ?? ''} at version ${state.version ?? ''}, the ledger ${ledger.posted} at ${ledger.version}`;
  }
  const entries = entriesOf(holds);
  if (typeof entries === 'string') return entries;
  const sum = entries.reduce((total, { amount, funding }) => total + (funding === 'wallet' ? amount : 0n), 0n);
  if (state.held !== sum.toString()) return `held is ${state.held ?? ''}, its open holds sum to ${sum}`;
  const unknown = entries.filter(({ id }) => ledger.open[id] === undefined);
  if (unknown.length > 0) return `${unknown.length} holds have no PENDING row, such as ${unknown[0]?.id ?? ''}`;
  const rows = Object.keys(ledger.open).length;
  if (rows !== entries.length) return `${rows} PENDING rows, fewer holds`;
  const other = entries.find(({ id, amount, funding }) => {
    const row = ledger.open[id];
    return row?.hold !== amount.toString() || row.funding !== funding;
  });
  return other && `hold ${other.id} has ${other.amount} paid by ${other.funding}, its row says otherwise`;
}

/** Or what cannot be read of them. */
function entriesOf(holds: ProjectedSide['holds']): readonly ({ readonly id: string } & HoldEntry)[] | string {
  try {
    return Object.entries(holds).map(([id, text]) => ({ id, ...parseHoldEntry(text) }));
  } catch (error) {
    return `a hold cannot be read: ${messageOf(error)}`;
  }
}

/** Redis may be in a newer window than the ledger, where nothing of it is committed yet. */
function counterDifference({ projection: { state }, ledger }: Sides): string | undefined {
  const scopes = Object.values(ledger.open).flatMap(({ hold, scopes: named }) =>
    (named ?? []).map((scope) => ({ scope, part: scope[1] === 'u' ? BigInt(hold) : 1n })),
  );
  for (const [field, text] of Object.entries(state)) {
    if (!field.startsWith('c:')) continue;
    const counter = field.slice('c:'.length);
    const [startMs, , used] = text.split(':');
    const [committedMs, committed] = ledger.counters[counter] ?? [0, '0'];
    if (Number(startMs) < committedMs)
      return `${counter} is in the window from ${startMs ?? ''}, the ledger in a later one`;
    const expected = scopes
      .filter(({ scope: [name, , scopeMs] }) => name === counter && scopeMs === Number(startMs))
      .reduce((sum, { part }) => sum + part, Number(startMs) === committedMs ? BigInt(committed) : 0n);
    if (used !== expected.toString()) {
      return `${counter} has ${used ?? ''} in its window from ${startMs ?? ''}, its charges and open holds ${expected}`;
    }
  }
  const unmet = scopes.find(({ scope: [name] }) => state[`c:${name}`] === undefined);
  return unmet && `an open charge counts in ${unmet.scope[0]}, which Redis does not know`;
}

/** Redis keeps no order that two reads could rely on. */
function inOrder(hash: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(hash).sort(([a], [b]) => (a < b ? -1 : 1)));
}

const LEDGER_SIDE = `
select json_build_object(
         'posted', w.posted_nano_usd::text, 'version', w.version::text,
         'open', coalesce((
           select json_object_agg(b.id, json_build_object('hold', b.hold_nano_usd::text, 'funding', b.funding, 'scopes', b.scopes)
                                  order by b.id)
             from billing_transaction b
            where b.tenant_id = w.tenant_id and b.status = 'PENDING' and b.trace_id >= ${OLDEST_OPEN_ID}), '{}'),
         'counters', coalesce((
           select json_object_agg(c.counter, json_build_array(c.window_start_ms, c.used::text) order by c.counter)
             from quota_counter c where c.tenant_id = w.tenant_id), '{}')) as side
  from tenant_balance w where w.tenant_id = $1`;
