import { setTimeout as pause } from 'node:timers/promises';
import type { Pool } from 'pg';
import type { RedisConnection } from '../../platform/redis/redis-connection';
import { parseHoldEntry } from '../../quota/hold-entry';
import { OLDEST_OPEN_ID } from '../../quota/oldest-open-id';
import { holdsKey, quotaKey } from '../../quota/quota-keys';
import { type InvariantResult, MAX_EXAMPLES } from './invariant';

const STATES =
  'Redis has posted what the ledger has at the same version; held is the sum of the open holds, which are the PENDING rows.';
const REREADS = 3;
const REREAD_AFTER_MS = 100;
const PAGE = 500;

/** The fields of the quota hash that are compared; see redis-scripts/quota_deduct.lua. */
type Projection = Partial<Record<'epoch' | 'posted' | 'version' | 'held', string>>;

interface LedgerSide {
  readonly posted: string;
  readonly version: string;
  readonly open: ReadonlySet<string>;
}

/** I2: the projection of every tenant installed in the current epoch, compared with the ledger: none where Postgres decides. */
export async function checkProjection(pool: Pool, redis: RedisConnection): Promise<InvariantResult> {
  const examples: string[] = [];
  let checked = 0;
  let violations = 0;
  let inMotion = 0;
  if (!redis.isReady) {
    const { rowCount } = await pool.query(`select from quota_authority where mode = 'postgres'`);
    return rowCount === 0 ? result('unknown', 0, 0, ['Redis is away']) : result('holds', 0, 0, []);
  }
  for (let after = '00000000-0000-0000-0000-000000000000'; ;) {
    const { rows } = await pool.query<{ tenant_id: string; epoch: string }>(
      `select p.tenant_id, p.epoch from tenant_projection p join quota_authority a on a.epoch = p.epoch
        where p.tenant_id > $1 order by p.tenant_id limit ${PAGE}`,
      [after],
    );
    for (const row of rows) {
      checked += 1;
      const verdict = await compareTenant(pool, redis, row.tenant_id, row.epoch);
      if (verdict === 'holds') continue;
      if (verdict === 'in_motion') inMotion += 1;
      else violations += 1;
      if (verdict !== 'in_motion' && examples.length < MAX_EXAMPLES) examples.push(verdict);
    }
    const last = rows.at(-1);
    if (!last || rows.length < PAGE) break;
    after = last.tenant_id;
  }
  const verdict = violations > 0 ? 'violated' : inMotion > 0 ? 'in_motion' : 'holds';
  return result(verdict, checked, violations, examples);
}

function result(
  verdict: InvariantResult['verdict'],
  checked: number,
  violations: number,
  examples: readonly string[],
): InvariantResult {
  return { id: 'I2', states: STATES, verdict, checked, violations, examples };
}

/** 'holds', 'in_motion' where the two sides kept moving under our reads, else what differs. */
async function compareTenant(pool: Pool, redis: RedisConnection, tenantId: string, epoch: string): Promise<string> {
  let verdict = 'in_motion';
  let before = '';
  for (let read = 0; read <= REREADS; read += 1) {
    if (read > 0) await pause(REREAD_AFTER_MS);
    const [state, holds] = await readProjection(redis, tenantId);
    const ledger = await readLedger(pool, tenantId);
    const difference = differenceOf(tenantId, epoch, state, holds, ledger);
    if (difference === undefined) return 'holds';
    // A difference counts only when two reads in a row found the very same on both sides: else something was on its way.
    const seen = JSON.stringify([state, Object.keys(holds).sort(), ledger.version, [...ledger.open].sort()]);
    verdict = seen === before ? difference : 'in_motion';
    before = seen;
  }
  return verdict;
}

async function readProjection(redis: RedisConnection, tenantId: string): Promise<[Projection, Record<string, string>]> {
  const replies = await redis.client.multi().hgetall(quotaKey(tenantId)).hgetall(holdsKey(tenantId)).exec();
  const [state, holds] = (replies ?? []).map(([error, reply]) => {
    if (error) throw error;
    return reply as Record<string, string>;
  });
  return [state ?? {}, holds ?? {}];
}

async function readLedger(pool: Pool, tenantId: string): Promise<LedgerSide> {
  const { rows } = await pool.query<{ posted: string; version: string; open: string[] | null }>(
    `select w.posted_nano_usd as posted, w.version,
            (select array_agg(b.id) from billing_transaction b
              where b.tenant_id = w.tenant_id and b.status = 'PENDING' and b.trace_id >= ${OLDEST_OPEN_ID}) as open
       from ledger_account w where w.tenant_id = $1 and w.name = 'wallet'`,
    [tenantId],
  );
  const [row] = rows;
  return { posted: row?.posted ?? '0', version: row?.version ?? '0', open: new Set(row?.open ?? []) };
}

function differenceOf(
  tenantId: string,
  epoch: string,
  state: Projection,
  holds: Record<string, string>,
  ledger: LedgerSide,
): string | undefined {
  // Not (or no longer) installed: it is rebuilt on first use, nothing relies on it.
  if (state.epoch !== epoch) return undefined;
  const tenant = `tenant ${tenantId}`;
  if (state.version !== ledger.version || state.posted !== ledger.posted) {
    return `${tenant}: Redis has posted ${state.posted ?? ''} at version ${state.version ?? ''}, the ledger ${ledger.posted} at ${ledger.version}`;
  }
  const sum = Object.values(holds).reduce((total, text) => total + parseHoldEntry(text).amount, 0n);
  if (state.held !== sum.toString()) return `${tenant}: held is ${state.held ?? ''}, its open holds sum to ${sum}`;
  const unknown = Object.keys(holds).filter((id) => !ledger.open.has(id));
  if (unknown.length > 0) return `${tenant}: ${unknown.length} holds have no PENDING row, such as ${unknown[0] ?? ''}`;
  if (ledger.open.size !== Object.keys(holds).length) return `${tenant}: ${ledger.open.size} PENDING rows, fewer holds`;
  return undefined;
}
