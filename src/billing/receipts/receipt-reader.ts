import { Inject, Injectable } from '@nestjs/common';
import type { Pool } from 'pg';
import { PG_POOL } from '../../platform/database/pg-pool';
import { TRANSFERS_OF } from '../ledger/transfers-of';
import type { AttemptRow } from '../request-log/request-log.writer';

/** The charge of a call as its row has it; numbers are text. */
export interface ChargeOfReceipt {
  readonly id: string;
  readonly tenant_id: string;
  readonly status: 'PENDING' | 'COMMITTED' | 'VOIDED';
  readonly is_stream: boolean;
  readonly model: string | null;
  readonly api_key_id: string | null;
  readonly api_key_name: string | null;
  readonly upstream_id: string | null;
  readonly upstream_name: string | null;
  readonly provider_name: string | null;
  readonly price_version: string | null;
  readonly prices: unknown;
  readonly hold_nano_usd: string;
  readonly amount_nano_usd: string;
  readonly upstream_cost_nano_usd: string;
  readonly counting_method: 'usage' | 'tokenizer' | 'estimated' | null;
  readonly end_reason: string | null;
  readonly reason_code: string | null;
  readonly created_at: string;
  readonly ended_at: string | null;
  readonly tokens_input_uncached: string;
  readonly tokens_input_cached: string;
  readonly tokens_cache_write: string;
  readonly tokens_output: string;
  readonly tokens_reasoning: string;
  readonly tokens_audio: string;
  readonly tokens_image: string;
}

/** Of an account that paid: `wallet`, `granted:allowance`, … */
export interface FundingOfReceipt {
  readonly account: string;
  readonly amount: string;
}

/** What was booked for the charge after it. */
export interface CorrectionOfReceipt {
  readonly id: string;
  readonly type: string;
  readonly amount: string;
  readonly upstream_cost: string;
  readonly reason_code: string | null;
  readonly description: string | null;
  readonly created_at: string;
}

export type AttemptOfReceipt = Omit<AttemptRow, 'upstream_id' | 'upstream_name' | 'provider_name'> & {
  readonly attempt: number;
  readonly upstream_id: string | null;
  readonly upstream_name: string | null;
  readonly provider_name: string | null;
};

/** The operational record; null where it was lost, or is not written yet. */
export interface LogOfReceipt {
  readonly tenant_id: string;
  readonly model: string | null;
  readonly is_stream: boolean;
  readonly status: number;
  readonly error_code: string | null;
  readonly end_reason: string | null;
  readonly client_request_id: string | null;
  readonly created_at: string;
}

/** Everything that is kept of one call, as of one moment. */
export interface ReceiptSource {
  readonly traceId: string;
  readonly charge: ChargeOfReceipt | null;
  readonly funding: readonly FundingOfReceipt[];
  readonly corrections: readonly CorrectionOfReceipt[];
  /** What attempts cost that the house pays; null where that was taken out of the ledger with its month. */
  readonly houseCost: string | null;
  readonly attempts: readonly AttemptOfReceipt[];
  readonly log: LogOfReceipt | null;
}

type Row = Omit<ReceiptSource, 'traceId' | 'houseCost'> & { readonly house_cost: string | null };

const OF_TENANT = `
select b.* from billing_transaction b where b.tenant_id = $2 and b.trace_id = $1 and b.type = 'charge'`;

/** Trace ids are indexed by tenant: one look a tenant, each of a few microseconds. A null $2 is every tenant. */
const OF_ANYBODY = `
select b.* from tenant t
 cross join lateral (select * from billing_transaction b where b.tenant_id = t.id and b.trace_id = $1 offset 0) b
 where b.type = 'charge' and ($2::uuid is null or b.tenant_id = $2)`;

/** JSON keeps no bigint: amounts and counts travel as text. Corrections may have been corrected in their turn. */
function receiptQuery(charge: string): string {
  return `
with recursive charge as (${charge} limit 1),
booked as (
  select x.* from charge c join billing_transaction x on x.original_transaction_id = c.id
  union
  select x.* from booked k join billing_transaction x on x.original_transaction_id = k.id)
select
  (select json_build_object(
     'id', c.id, 'tenant_id', c.tenant_id, 'status', c.status, 'is_stream', c.is_stream, 'model', c.model,
     'api_key_id', c.api_key_id, 'api_key_name', c.api_key_name, 'upstream_id', c.upstream_id,
     'upstream_name', c.upstream_name, 'provider_name', c.provider_name, 'price_version', c.price_version::text,
     'prices', c.prices, 'hold_nano_usd', c.hold_nano_usd::text, 'amount_nano_usd', c.amount_nano_usd::text,
     'upstream_cost_nano_usd', c.upstream_cost_nano_usd::text, 'counting_method', c.counting_method,
     'end_reason', c.end_reason, 'reason_code', c.reason_code, 'created_at', c.created_at, 'ended_at', c.ended_at,
     'tokens_input_uncached', c.tokens_input_uncached::text, 'tokens_input_cached', c.tokens_input_cached::text,
     'tokens_cache_write', c.tokens_cache_write::text, 'tokens_output', c.tokens_output::text,
     'tokens_reasoning', c.tokens_reasoning::text, 'tokens_audio', c.tokens_audio::text,
     'tokens_image', c.tokens_image::text) from charge c) as charge,
  (select coalesce(json_agg(json_build_object('account', a.name, 'amount', t.amount_nano_usd::text) order by t.id), '[]')
     from charge c
     join ledger_transfer t on ${TRANSFERS_OF} and t.kind = 'charge'
     join ledger_account a on a.id = t.debit_account_id) as funding,
  (select coalesce(json_agg(json_build_object(
     'id', k.id, 'type', k.type, 'amount', k.amount_nano_usd::text, 'upstream_cost', k.upstream_cost_nano_usd::text,
     'reason_code', k.reason_code, 'description', k.description, 'created_at', k.created_at)
     order by k.created_at, k.id), '[]') from booked k where k.status = 'COMMITTED') as corrections,
  (select case when (select c.ended_at < ledger_begins_at() from charge c) then null
               else coalesce(sum(t.amount_nano_usd), 0)::text end
     from charge c
     join ledger_transfer t on ${TRANSFERS_OF} and t.kind = 'upstream_cost')
    as house_cost,
  (select coalesce(json_agg(json_build_object(
     'attempt', r.attempt, 'upstream_id', r.upstream_id, 'upstream_name', r.upstream_name,
     'provider_name', r.provider_name, 'status', r.status, 'outcome', r.outcome, 'is_served', r.is_served,
     'ttft_ms', r.ttft_ms, 'duration_ms', r.duration_ms, 'tokens', r.tokens,
     'upstream_cost_nano_usd', r.upstream_cost_nano_usd::text, 'paid_by', r.paid_by) order by r.attempt), '[]')
     from request_attempt r where r.request_id = $1 and ($2::uuid is null or r.tenant_id = $2)) as attempts,
  (select json_build_object(
     'tenant_id', l.tenant_id, 'model', l.model, 'is_stream', l.is_stream, 'status', l.status,
     'error_code', l.error_code, 'end_reason', l.end_reason, 'client_request_id', l.client_request_id,
     'created_at', l.created_at)
     from request_log l where l.id = $1 and ($2::uuid is null or l.tenant_id = $2)) as log`;
}

/** Reads what a receipt is made of in one statement, so that all of it belongs together. */
@Injectable()
export class ReceiptReader {
  constructor(@Inject(PG_POOL) private readonly pool: Pool) {}

  /** Undefined where this tenant made no such call. */
  ofTenant(traceId: string, tenantId: string): Promise<ReceiptSource | undefined> {
    return this.read('receipt-of-tenant', receiptQuery(OF_TENANT), traceId, tenantId);
  }

  /** Whoever made the call; undefined where nobody did. */
  of(traceId: string): Promise<ReceiptSource | undefined> {
    return this.read('receipt', receiptQuery(OF_ANYBODY), traceId, null);
  }

  private async read(
    name: string,
    text: string,
    traceId: string,
    tenantId: string | null,
  ): Promise<ReceiptSource | undefined> {
    const { rows } = await this.pool.query<Row>({ name, text, values: [traceId, tenantId] });
    const [row] = rows;
    if (!row || (row.charge === null && row.log === null)) return undefined;
    const { house_cost: houseCost, ...source } = row;
    return { traceId, ...source, houseCost };
  }
}
