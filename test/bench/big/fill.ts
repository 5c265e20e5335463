import { randomUUID } from 'node:crypto';
import type { Client } from 'pg';
import { pricesJson } from '../../../src/catalogue/price-json';
import { ONE_NANO_A_TOKEN } from '../../support/money-harness';

/** Of each charge that is filled in. */
const AMOUNT_NANO_USD = 100_000;
const RECHARGE_NANO_USD = 9_000_000_000_000n;
const MONTHS = 12;
const CHUNK = 250_000;
const HOUSE_REVENUE = '00000000-0000-7000-8000-000000000001';
const HOUSE_ADJUSTMENT = '00000000-0000-7000-8000-000000000002';

export interface FilledTenant {
  readonly tenantId: string;
  readonly walletId: string;
}

/**
 * A ledger of charges made by generate_series, spread evenly over tenants and over the months up to now, each with its
 * transaction; accounts keep balance and version, so that I1 holds of it. Snapshots are left out: nothing measured here
 * reads them, and a settle adds its own at the end of their index, however many there are.
 */
export class BigLedger {
  rows = 0;

  private constructor(
    private readonly client: Client,
    readonly tenants: readonly FilledTenant[],
    private readonly totalRows: number,
    private readonly say: (line: string) => void,
  ) {}

  static async create(
    client: Client,
    { tenants, totalRows, say }: { tenants: number; totalRows: number; say: (line: string) => void },
  ): Promise<BigLedger> {
    await client.query(`set synchronous_commit = off`);
    await client.query(`select create_month_partitions(now() - make_interval(months => $1), $1)`, [MONTHS]);
    const made = Array.from({ length: tenants }, () => ({ tenantId: randomUUID(), walletId: randomUUID() }));
    const ids = [made.map(({ tenantId }) => tenantId), made.map(({ walletId }) => walletId)];
    await client.query(`create table bench_tenant (n integer primary key, tenant_id uuid, wallet_id uuid)`);
    await client.query(
      `insert into bench_tenant select n - 1, t, w from unnest($1::uuid[], $2::uuid[]) with ordinality as u (t, w, n)`,
      ids,
    );
    await client.query(
      `insert into tenant (id, name, timezone) select tenant_id, 'bench ' || n, 'UTC' from bench_tenant`,
    );
    await client.query(
      `insert into ledger_account (id, tenant_id, name, posted_nano_usd, version)
         select wallet_id, tenant_id, 'wallet', ${RECHARGE_NANO_USD}, 1 from bench_tenant
         union all select gen_random_uuid(), tenant_id, 'overrun', 0, 0 from bench_tenant`,
    );
    await client.query(
      `insert into ledger_transfer (kind, transaction_id, debit_account_id, credit_account_id, amount_nano_usd,
                                    credit_version, created_at)
         select 'recharge', gen_random_uuid(), '${HOUSE_ADJUSTMENT}', wallet_id, ${RECHARGE_NANO_USD}, 1,
                now() - make_interval(months => ${MONTHS}) from bench_tenant`,
    );
    return new BigLedger(client, made, totalRows, say);
  }

  /** Until there are so many charges; a multiple of the number of tenants. */
  async fillTo(rows: number): Promise<void> {
    const startMs = performance.now();
    while (this.rows < rows) {
      const count = Math.min(CHUNK - (CHUNK % this.tenants.length), rows - this.rows);
      await this.fillChunk(count);
      this.rows += count;
      this.say(`filled ${this.rows} of ${rows} rows in ${((performance.now() - startMs) / 1_000).toFixed(0)} s`);
    }
    await this.client.query('vacuum (analyze) billing_transaction, ledger_transfer, ledger_account');
    await this.client.query('checkpoint');
  }

  private async fillChunk(count: number): Promise<void> {
    const each = count / this.tenants.length;
    if (!Number.isInteger(each)) throw new Error(`${count} rows do not spread over ${this.tenants.length} tenants`);
    await this.client.query('begin');
    await this.client.query(FILL, [
      this.rows,
      count,
      this.tenants.length,
      this.totalRows,
      JSON.stringify(pricesJson(ONE_NANO_A_TOKEN)),
    ]);
    await this.client.query(
      `update ledger_account a set posted_nano_usd = a.posted_nano_usd - ${AMOUNT_NANO_USD} * $1::bigint,
              version = a.version + $1::bigint
         from bench_tenant t where a.id = t.wallet_id`,
      [each],
    );
    await this.client.query('commit');
  }
}

/** $1 first, $2 count, $3 tenants, $4 rows in the end, $5 prices. Time goes on evenly from row to row. */
const FILL = `
with made as materialized (
  select i, t.tenant_id, t.wallet_id, a.version + (i - $1::bigint) / $3::bigint + 1 as version,
         now() - make_interval(months => ${MONTHS}) * (1 - i::float8 / $4::bigint) as at, md5(i::text) as noise
    from generate_series($1::bigint, $1::bigint + $2::bigint - 1) i
    join bench_tenant t on t.n = i % $3::bigint
    join ledger_account a on a.id = t.wallet_id),
named as materialized (
  select m.*, (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || substr(noise, 1, 3) || '8'
               || substr(noise, 4, 15))::uuid as id from made m),
charged as (
  insert into billing_transaction (
    id, tenant_id, trace_id, type, status, channel, is_stream, epoch, process_id, hold_nano_usd, amount_nano_usd,
    balance_before_nano_usd, balance_after_nano_usd, day_window_start, month_window_start, api_key_id, api_key_name, model,
    upstream_id, upstream_name, provider_name, price_version, prices, tokens_input_uncached, tokens_output,
    counting_method, end_reason, created_at, ended_at)
  select id, tenant_id, id, 'charge', 'COMMITTED', 'external', false, 1, tenant_id, 120000, ${AMOUNT_NANO_USD},
         ${RECHARGE_NANO_USD}, ${RECHARGE_NANO_USD}, date_trunc('day', at), date_trunc('month', at), wallet_id, 'bench key',
         'bench-model', wallet_id, 'bench upstream', 'bench provider', 1, $5::jsonb, 1000, ${AMOUNT_NANO_USD - 1_000},
         'usage', 'complete', at, at
    from named)
insert into ledger_transfer (kind, transaction_id, debit_account_id, credit_account_id, amount_nano_usd, debit_version,
                             created_at)
select 'charge', id, wallet_id, '${HOUSE_REVENUE}', ${AMOUNT_NANO_USD}, version, at from named order by i`;
