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
  readonly attempts: readonly object[];
  readonly duration_ms: number;
  readonly ttft_ms: number | null;
  /** Null where a charge says it. */
  readonly usage: LoggedUsage | null;
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

/** A key deleted meanwhile is written as null: its absence must not cost the row. */
const INSERT = `
insert into request_log (id, tenant_id, api_key_id, client_request_id, channel, route, model, is_stream, status,
                         error_code, end_reason, attempts, duration_ms, ttft_ms, usage)
select r.id, r.tenant_id, k.id, r.client_request_id, r.channel, r.route, r.model, r.is_stream, r.status,
       r.error_code, r.end_reason, r.attempts, r.duration_ms, r.ttft_ms, r.usage
  from json_to_recordset($1::json) as r(
    id uuid, tenant_id uuid, api_key_id uuid, client_request_id text, channel text, route text, model text,
    is_stream boolean, status integer, error_code text, end_reason text, attempts jsonb, duration_ms integer,
    ttft_ms integer, usage jsonb)
  left join api_key k on k.id = r.api_key_id
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
    const insert = (): Promise<unknown> => retryTransaction(() => this.pool.query(query));
    await insert().catch((error: unknown) => {
      if (sqlStateOf(error) !== SQL_STATE.foreignKeyViolation) throw error;
      // A key was deleted while its row was on the way: another look does not find it any more.
      return insert();
    });
  }
}
