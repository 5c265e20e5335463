import type { Pool } from 'pg';
import type { Redis } from 'ioredis';
import { parseHoldEntry } from '../../../src/quota/hold-entry';
import { holdsKey, quotaKey } from '../../../src/quota/quota-keys';
import type { LedgerSide } from './ledger-side';
import type { QuotaModel } from './model';
import { sumOf } from './projection-side';

/** What Redis has of the tenant is what the model says; nothing, where the model says nothing. */
export async function compareRedis(redis: Redis, tenantId: string, model: QuotaModel): Promise<void> {
  const expected = model.projection;
  const rates = [...(expected?.rates.keys() ?? [])];
  const replies = await redis.multi().hgetall(quotaKey(tenantId)).hgetall(holdsKey(tenantId)).exec();
  const [state = {}, holds = {}] = (replies ?? []).map(([error, reply]) => {
    if (error) throw error;
    return reply as Record<string, string>;
  });
  if (!expected) {
    expect({ state, holds }).toEqual({ state: {}, holds: {} });
    return;
  }
  const fields = Object.entries(state);
  const counters = Object.fromEntries(fields.filter(([name]) => name.startsWith('c:')));
  const met = [...new Set([...model.metCounters, ...Object.keys(counters).map((name) => name.slice(2))])];
  expect({
    ...state,
    holds: Object.fromEntries(Object.entries(holds).map(([id, text]) => [id, entryOf(text)])),
  }).toEqual({
    epoch: state.epoch,
    posted: expected.posted.toString(),
    version: expected.version.toString(),
    held: expected.held.toString(),
    counters: Object.keys(counters).length.toString(),
    open: expected.holds.size.toString(),
    ...Object.fromEntries(met.map((name) => [`c:${name}`, textOf(expected.counter(name))])),
    holds: Object.fromEntries(
      [...expected.holds].map(([id, { amount, funding, tokens, processId, frozen, rolled }]) => [
        id,
        {
          amount,
          funding,
          tokens,
          processId,
          windows: frozen.map(({ counter, measure, startMs, endMs }) => [counter, measure, startMs, endMs]),
          seconds: rolled.map(({ counter, measure, second }) => [counter, measure, second]),
        },
      ]),
    ),
  });
  const sums = await Promise.all(rates.map((name) => redis.hmget(`tg:{${tenantId}}:rate:${name}`, 'at', 'sum')));
  expect(Object.fromEntries(rates.map((name, at) => [name, sums[at]]))).toEqual(
    Object.fromEntries([...expected.rates].map(([name, rate]) => [name, [rate.at.toString(), sumOf(rate).toString()]])),
  );
}

function textOf({ startMs, endMs, used }: { startMs: number; endMs: number; used: bigint }): string {
  return `${startMs}:${endMs}:${used}`;
}

function entryOf(text: string): unknown {
  const { amount, funding, tokens, processId, counted } = parseHoldEntry(text);
  return {
    amount,
    funding,
    tokens,
    processId,
    windows: counted.flatMap((one) => (one.isRolling ? [] : [[one.counter, one.measure, one.startMs, one.endMs]])),
    seconds: counted.flatMap((one) => (one.isRolling ? [[one.counter, one.measure, one.startMs / 1000]] : [])),
  };
}

/** Accounts, rows and counters of the ledger are what the model says. */
export async function comparePostgres(pool: Pool, tenantId: string, { ledger }: QuotaModel): Promise<void> {
  const { rows } = await pool.query<{ state: Record<'accounts' | 'rows' | 'counters' | 'corrections', unknown> }>(
    STATE,
    [tenantId],
  );
  const { promo } = ledger;
  const { accounts, ...state } = rows[0]?.state ?? { accounts: {} };
  expect({ ...state, accounts: { promo: '0', ...(accounts as object) } }).toEqual({
    accounts: { promo: promo.toString(), wallet: ledger.wallet.toString(), overrun: (-ledger.overrun).toString() },
    rows: Object.fromEntries(
      [...ledger.rows.values()].map((row) => [
        row.id,
        {
          status: row.status,
          hold: row.hold.toString(),
          extended: row.extended.toString(),
          amount: row.amount.toString(),
          funding: row.funding,
          scopes:
            row.frozen.length === 0
              ? null
              : row.frozen.map(({ counter, measure, startMs, endMs }) => [
                  counter,
                  measure === 'requests' ? 'r' : 'u',
                  startMs,
                  endMs,
                ]),
        },
      ]),
    ),
    corrections: Object.fromEntries([...ledger.corrections].map(([id, amount]) => [id, amount.toString()])),
    counters: countersOf(ledger),
  });
}

function countersOf({ counters }: LedgerSide): unknown {
  return Object.fromEntries([...counters].map(([name, counter]) => [name, textOf(counter)]));
}

/** A correction names its charge in its description alone. */
const STATE = `
select json_build_object(
  'accounts', (select json_object_agg(name, posted_nano_usd::text) from ledger_account where tenant_id = $1),
  'rows', (select coalesce(json_object_agg(id, json_build_object('status', status, 'hold', hold_nano_usd::text,
            'extended', extended_nano_usd::text, 'amount', amount_nano_usd::text, 'funding', funding, 'scopes', scopes)), '{}')
            from billing_transaction where tenant_id = $1 and type = 'charge'),
  'corrections', (select coalesce(json_object_agg(right(description, 36), amount_nano_usd::text), '{}')
                    from billing_transaction where tenant_id = $1 and type = 'correction'),
  'counters', (select coalesce(json_object_agg(counter, window_start_ms || ':' || window_end_ms || ':' || used), '{}')
                 from quota_counter where tenant_id = $1)) as state`;
