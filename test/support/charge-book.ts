import { Pool } from 'pg';
import { HOUSE_ACCOUNT } from '../../src/billing/ledger/house-accounts';
import { eventually } from './eventually';

/** One charge as the database has it: the business row, and what its transfers really moved. */
export interface BookedCharge {
  readonly traceId: string;
  readonly status: 'PENDING' | 'COMMITTED' | 'VOIDED';
  readonly amountNanoUsd: bigint;
  /** Moved from the tenant's wallet to the house's revenue. */
  readonly transferredNanoUsd: bigint;
  readonly holdNanoUsd: bigint;
  readonly method: 'usage' | 'tokenizer' | 'estimated' | null;
  readonly endReason: string | null;
  readonly reasonCode: string | null;
  readonly upstreamName: string | null;
  /** Only buckets that are not empty. */
  readonly tokens: Readonly<Record<string, number>>;
}

const BUCKETS = ['input_uncached', 'input_cached', 'cache_write', 'output', 'reasoning', 'audio', 'image'] as const;

const CHARGES = `
select b.trace_id, b.status, b.amount_nano_usd, b.hold_nano_usd, b.counting_method, b.end_reason, b.reason_code,
       b.upstream_name, ${BUCKETS.map((bucket) => `b.tokens_${bucket}`).join(', ')},
       (select coalesce(sum(t.amount_nano_usd), 0)
          from ledger_transfer t
          join ledger_account w on w.id = t.debit_account_id and w.tenant_id = b.tenant_id and w.name = 'wallet'
         where t.transaction_id = b.id and t.kind = 'charge'
           and t.credit_account_id = '${HOUSE_ACCOUNT.revenue}') as transferred
  from billing_transaction b where b.type = 'charge'`;

type ChargeRow = Readonly<Record<string, string | null>>;

/** Reads charges straight from the tables, so that what the control plane says can be wrong without hiding it. */
export class ChargeBook {
  private readonly pool: Pool;

  constructor(databaseUrl: string) {
    this.pool = new Pool({ connectionString: databaseUrl, max: 2 });
  }

  close(): Promise<void> {
    return this.pool.end();
  }

  /** The ended charge of a call by its `x-request-id`; waits for the settle of a call whose client has left. */
  ended(traceId: string): Promise<BookedCharge> {
    return eventually(`the charge of ${traceId} has ended`, async () => {
      const [charge] = await this.read('and b.trace_id = $1', [traceId]);
      return charge?.status === 'PENDING' ? undefined : charge;
    });
  }

  /** Every charge for a model, all ended and at least one. */
  endedOfModel(model: string, atLeast = 1): Promise<readonly BookedCharge[]> {
    return eventually(`${atLeast} charges for ${model} have ended`, async () => {
      const charges = await this.ofModel(model);
      const isOver = charges.length >= atLeast && charges.every(({ status }) => status !== 'PENDING');
      return isOver ? charges : undefined;
    });
  }

  /** Waits until so many charges for a model have been admitted, ended or not. */
  admittedOfModel(model: string, atLeast = 1): Promise<readonly BookedCharge[]> {
    return eventually(`${atLeast} charges for ${model} are admitted`, async () => {
      const charges = await this.ofModel(model);
      return charges.length >= atLeast ? charges : undefined;
    });
  }

  ofTenant(tenantId: string): Promise<readonly BookedCharge[]> {
    return this.read('and b.tenant_id = $1 order by b.id', [tenantId]);
  }

  ofModel(model: string): Promise<readonly BookedCharge[]> {
    return this.read('and b.model = $1 order by b.id', [model]);
  }

  /** Distinct outcomes of a model's charges with how often each occurs: thousands of charges in a line. */
  async outcomesOfModel(model: string): Promise<readonly { outcome: string; charges: number }[]> {
    const { rows } = await this.pool.query<{ outcome: string; charges: string }>(
      `select c.status || ' ' || c.amount_nano_usd || ' ' || c.transferred || ' ' || coalesce(c.counting_method, '-') as outcome,
              count(*) as charges
         from (${CHARGES} and b.model = $1) c group by 1 order by 1`,
      [model],
    );
    return rows.map(({ outcome, charges }) => ({ outcome, charges: Number(charges) }));
  }

  async walletNanoUsd(tenantId: string): Promise<bigint> {
    const { rows } = await this.pool.query<{ posted: string }>(
      `select posted_nano_usd as posted from ledger_account where tenant_id = $1 and name = 'wallet'`,
      [tenantId],
    );
    if (rows[0] === undefined) throw new Error(`tenant ${tenantId} has no wallet`);
    return BigInt(rows[0].posted);
  }

  /** Outcomes of the attempts of a call, in order, by upstream: the request log is written behind the answer. */
  attempts(traceId: string): Promise<readonly { upstream: string; outcome: string }[]> {
    return eventually(`the call ${traceId} is in the request log`, async () => {
      const { rows } = await this.pool.query<{ upstream: string | null; outcome: string | null }>(
        `select a.upstream_name as upstream, a.outcome
           from request_log l left join request_attempt a on a.request_id = l.id where l.id = $1 order by a.attempt`,
        [traceId],
      );
      if (rows.length === 0) return undefined;
      return rows.flatMap(({ upstream, outcome }) =>
        upstream === null || outcome === null ? [] : [{ upstream, outcome }],
      );
    });
  }

  private async read(condition: string, values: unknown[]): Promise<readonly BookedCharge[]> {
    const { rows } = await this.pool.query<ChargeRow>(`${CHARGES} ${condition}`, values);
    return rows.map(booked);
  }
}

function booked(row: ChargeRow): BookedCharge {
  const tokens = BUCKETS.map((bucket) => [bucket, Number(row[`tokens_${bucket}`])] as const);
  return {
    traceId: row.trace_id ?? '',
    status: row.status as BookedCharge['status'],
    amountNanoUsd: BigInt(row.amount_nano_usd ?? '0'),
    transferredNanoUsd: BigInt(row.transferred ?? '0'),
    holdNanoUsd: BigInt(row.hold_nano_usd ?? '0'),
    method: (row.counting_method ?? null) as BookedCharge['method'],
    endReason: row.end_reason ?? null,
    reasonCode: row.reason_code ?? null,
    upstreamName: row.upstream_name ?? null,
    tokens: Object.fromEntries(tokens.filter(([, count]) => count > 0)),
  };
}
