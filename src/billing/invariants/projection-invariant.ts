import { setTimeout as pause } from 'node:timers/promises';
import type { Pool } from 'pg';
import type { RedisConnection } from '../../platform/redis/redis-connection';
import { type InvariantResult, MAX_EXAMPLES } from './invariant';
import { differencesOf, readLedgerSide, readProjection } from './projection-sides';

const STATES =
  'Redis has posted what the ledger has at the same version; held is the sum of the open holds that the tenant pays, which ' +
  'are the PENDING rows.';
const REREADS = 3;
const REREAD_AFTER_MS = 100;
const PAGE = 500;
const NOTHING_PROJECTED = 'Postgres decides: nothing is projected';

/** What of an invariant Redis has to do with. */
export interface ProjectedVerdict {
  readonly verdict: InvariantResult['verdict'];
  readonly checked: number;
  readonly violations: number;
  readonly examples: readonly string[];
}

/** I2, and of I8 the part that is in Redis: they are read together. */
export interface ProjectionVerdicts {
  readonly balance: InvariantResult;
  readonly counters: ProjectedVerdict;
}

interface Found {
  checked: number;
  violations: number;
  inMotion: number;
  readonly examples: string[];
}

/** The projection of every tenant installed in the current epoch, compared with the ledger. */
export async function checkProjection(pool: Pool, redis: RedisConnection): Promise<ProjectionVerdicts> {
  const { rowCount } = await pool.query(`select from quota_authority where mode = 'postgres'`);
  if (rowCount === 1) return both({ ...EMPTY, verdict: 'holds', examples: [NOTHING_PROJECTED] });
  if (!redis.isReady) return both({ ...EMPTY, verdict: 'unknown', examples: ['Redis is away'] });
  const found = { balance: nothingFound(), counters: nothingFound() };
  for (let after = '00000000-0000-0000-0000-000000000000'; ;) {
    const { rows } = await pool.query<{ tenant_id: string; epoch: string }>(
      `select p.tenant_id, p.epoch from tenant_projection p join quota_authority a on a.epoch = p.epoch
        where p.tenant_id > $1 order by p.tenant_id limit ${PAGE}`,
      [after],
    );
    for (const row of rows) {
      const { balance, counters } = await compareTenant(pool, redis, row.tenant_id, row.epoch);
      record(found.balance, balance);
      record(found.counters, counters);
    }
    const last = rows.at(-1);
    if (!last || rows.length < PAGE) break;
    after = last.tenant_id;
  }
  return { balance: balanceResult(verdictOf(found.balance)), counters: verdictOf(found.counters) };
}

const EMPTY = { checked: 0, violations: 0 } as const;

function both(verdict: ProjectedVerdict): ProjectionVerdicts {
  return { balance: balanceResult(verdict), counters: verdict };
}

function balanceResult(verdict: ProjectedVerdict): InvariantResult {
  return { id: 'I2', states: STATES, ...verdict };
}

function nothingFound(): Found {
  return { checked: 0, violations: 0, inMotion: 0, examples: [] };
}

function record(found: Found, verdict: string): void {
  found.checked += 1;
  if (verdict === 'holds') return;
  if (verdict === 'in_motion') {
    found.inMotion += 1;
    return;
  }
  found.violations += 1;
  if (found.examples.length < MAX_EXAMPLES) found.examples.push(verdict);
}

function verdictOf({ checked, violations, inMotion, examples }: Found): ProjectedVerdict {
  const verdict = violations > 0 ? 'violated' : inMotion > 0 ? 'in_motion' : 'holds';
  return { verdict, checked, violations, examples };
}

interface TenantVerdicts {
  readonly balance: string;
  readonly counters: string;
}

/** Of each: 'holds', 'in_motion' where the two sides kept moving under our reads, else what differs. */
async function compareTenant(
  pool: Pool,
  redis: RedisConnection,
  tenantId: string,
  epoch: string,
): Promise<TenantVerdicts> {
  let verdict: TenantVerdicts = { balance: 'in_motion', counters: 'in_motion' };
  let before = '';
  for (let read = 0; read <= REREADS; read += 1) {
    if (read > 0) await pause(REREAD_AFTER_MS);
    const projection = await readProjection(redis, tenantId);
    const ledger = await readLedgerSide(pool, tenantId);
    const { balance, counters } = differencesOf({ tenantId, epoch, projection, ledger });
    if (balance === undefined && counters === undefined) return { balance: 'holds', counters: 'holds' };
    // A difference counts only when two reads in a row found the very same on both sides: else something was on its way.
    const seen = JSON.stringify([projection, ledger]);
    verdict =
      seen === before
        ? { balance: balance ?? 'holds', counters: counters ?? 'holds' }
        : {
            balance: balance === undefined ? 'holds' : 'in_motion',
            counters: counters === undefined ? 'holds' : 'in_motion',
          };
    before = seen;
  }
  return verdict;
}
