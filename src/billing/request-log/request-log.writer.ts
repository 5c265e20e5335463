import { Inject, Injectable, Logger, type BeforeApplicationShutdown } from '@nestjs/common';
import type { Pool } from 'pg';
import { PG_POOL } from '../../platform/database/pg-pool';
import { SQL_STATE, sqlStateOf } from '../../platform/database/sql-state';
import { retryTransaction } from '../../platform/database/with-transaction';
import { Metrics } from '../../platform/metrics/metrics';
import { BatchLane } from '../../platform/database/batch-lane';
import { isRefusedData } from '../../platform/database/sql-state';
import { writeHalving } from '../writer/write-halving';
import { messageOf } from '../../kernel/error-message';

/** One row of request_log; ids and codes only, never a prompt or an answer. Times are integer milliseconds. */
export interface RequestLogRow {
  readonly id: string;
  readonly tenant_id: string;
  readonly api_key_id: string;
  readonly client_request_id: string | null;
  readonly channel: string;
  readonly route: string;
  readonly model: string | null;
  readonly is_stream: boolean;
  readonly status: number;
  readonly error_code: string | null;
  readonly end_reason: string | null;
  /** In the order in which they were made; rows of request_attempt. */
  readonly attempts: readonly AttemptRow[];
  readonly duration_ms: number;
  readonly ttft_ms: number | null;
  /** Null where a charge says it. */
  readonly usage: LoggedUsage | null;
}

/** One row of request_attempt. Names are kept whatever becomes of their upstream. */
export interface AttemptRow {
  readonly upstream_id: string;
  readonly upstream_name: string;
  readonly provider_name: string;
  /** Null where no headers came. */
  readonly status: number | null;
  readonly outcome: string;
  readonly is_served: boolean;
  readonly ttft_ms: number | null;
  readonly duration_ms: number;
  /** By bucket, only those that are not empty; null where nothing is known of any. */
  readonly tokens: Readonly<Record<string, number>> | null;
  readonly upstream_cost_nano_usd: string;
  readonly paid_by: 'tenant' | 'house' | 'nobody';
}

/** What a call used that no charge was made for. */
export interface LoggedUsage {
  /** By bucket, only those that are not empty. */
  readonly tokens: Readonly<Record<string, number>>;
  readonly counting_method: string;
  readonly price_version: string | null;
  readonly cost_nano_usd: string;
}

const WINDOW_MS = 50;
const MAX_BATCH = 1_000;
const MAX_QUEUED = 10_000;
/** Each deletion in the midst of a look costs one. */
const MAX_LOOKS = 5;

/** A key or an upstream deleted meanwhile is written as null: its absence must not cost the row. */
const INSERT = `
with input as (
  select r.* from json_to_recordset($1::json) as r(
    id uuid, tenant_id uuid, api_key_id uuid, client_request_id text, channel text, route text, model text,
    is_stream boolean, status integer, error_code text, end_reason text, attempts jsonb, duration_ms integer,
    ttft_ms integer, usage jsonb)),
logged as (
  insert into request_log (id, tenant_id, api_key_id, client_request_id, channel, route, model, is_stream, status,
                           error_code, end_reason, duration_ms, ttft_ms, usage)
  select r.id, r.tenant_id, k.id, r.client_request_id, r.channel, r.route, r.model, r.is_stream, r.status,
         r.error_code, r.end_reason, r.duration_ms, r.ttft_ms, r.usage
    from input r left join api_key k on k.id = r.api_key_id
  on conflict do nothing)
insert into request_attempt (request_id, attempt, tenant_id, model, upstream_id, upstream_name, provider_name, status,
                             outcome, is_served, ttft_ms, duration_ms, tokens, upstream_cost_nano_usd, paid_by)
select r.id, a.attempt, r.tenant_id, r.model, u.id, a.upstream_name, a.provider_name, a.status, a.outcome, a.is_served,
       a.ttft_ms, a.duration_ms, nullif(a.tokens, 'null'), a.upstream_cost_nano_usd, a.paid_by
  from input r
 cross join lateral rows from (jsonb_to_recordset(r.attempts) as (
    upstream_id uuid, upstream_name text, provider_name text, status integer, outcome text, is_served boolean,
    ttft_ms integer, duration_ms integer, tokens jsonb, upstream_cost_nano_usd bigint, paid_by text)) with ordinality
    as a (upstream_id, upstream_name, provider_name, status, outcome, is_served, ttft_ms, duration_ms, tokens,
          upstream_cost_nano_usd, paid_by, attempt)
  left join upstream u on u.id = a.upstream_id
on conflict do nothing`;

/**
 * The operational record, written behind the answers in batches. It is bounded and may lose rows (counted), never money:
 * a full queue drops the newest; a row that Postgres refuses is dropped alone; while Postgres is away its batches are
 * dropped, and that is said once.
 */
@Injectable()
export class RequestLogWriter implements BeforeApplicationShutdown {
  private readonly logger = new Logger(RequestLogWriter.name);
  private isFailing = false;
  private readonly lane = new BatchLane<RequestLogRow>({
    windowMs: WINDOW_MS,
    maxBatch: MAX_BATCH,
    write: (batch) => this.write(batch),
  });

  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly metrics: Metrics,
  ) {
    metrics.beforeScrape(() => {
      metrics.writerQueueDepth.of('request_log').set(this.lane.depth);
    });
  }

  record(row: RequestLogRow): void {
    if (this.lane.depth >= MAX_QUEUED) this.metrics.requestLogDropped.inc();
    else this.lane.push(row);
  }

  /** Resolves when everything recorded so far was written or dropped. */
  drain(): Promise<void> {
    return this.lane.drain();
  }

  beforeApplicationShutdown(): Promise<void> {
    return this.drain();
  }

  private async write(batch: readonly RequestLogRow[]): Promise<void> {
    const refused: string[] = [];
    await writeHalving(
      batch,
      (rows) => this.insertOrDrop(rows),
      (row, error) => {
        refused.push(`${row.id}: ${String(error)}`);
      },
    );
    if (refused.length === 0) return;
    this.metrics.requestLogDropped.inc(refused.length);
    this.logger.warn(`Postgres refuses ${refused.length} request log rows, such as ${refused[0] ?? ''}`);
  }

  /** Rejects only where Postgres refuses the data. */
  private async insertOrDrop(rows: readonly RequestLogRow[]): Promise<void> {
    try {
      await this.insert(rows);
      this.isFailing = false;
    } catch (error) {
      if (isRefusedData(error)) throw error;
      this.metrics.requestLogDropped.inc(rows.length);
      if (!this.isFailing) {
        this.logger.warn(`request log rows are dropped: ${messageOf(error)}`);
      }
      this.isFailing = true;
    }
  }

  private async insert(rows: readonly RequestLogRow[]): Promise<void> {
    const query = { name: 'request_log', text: INSERT, values: [JSON.stringify(rows)] };
    for (let look = 1; ; look++) {
      try {
        await retryTransaction(() => this.pool.query(query));
        return;
      } catch (error) {
        // A key or an upstream was deleted while a row was on the way: another look does not find it any more.
        if (sqlStateOf(error) !== SQL_STATE.foreignKeyViolation || look >= MAX_LOOKS) throw error;
      }
    }
  }
}
