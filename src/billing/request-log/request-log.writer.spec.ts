import { Logger } from '@nestjs/common';
import { Pool } from 'pg';
import { eventually } from '../../../test/support/eventually';
import { createTestDatabase, type TestDatabase } from '../../../test/support/test-database';
import { newId } from '../../kernel/ids';
import { createPgPool } from '../../platform/database/pg-pool';
import { Metrics } from '../../platform/metrics/metrics';
import { type AttemptRow, type RequestLogRow, RequestLogWriter } from './request-log.writer';

let database: TestDatabase;
let owner: Pool;
let pool: Pool;
let metrics: Metrics;
let writer: RequestLogWriter;

beforeAll(async () => {
  Logger.overrideLogger(false);
  database = await createTestDatabase();
  owner = new Pool({ connectionString: database.url, max: 2 });
});
beforeEach(() => {
  pool = createPgPool({ url: database.url }, 2, { applicationName: 'request-log-spec', lockMs: 300 });
  metrics = new Metrics();
  writer = new RequestLogWriter(pool, metrics);
});
afterEach(async () => {
  if (!pool.ended) await pool.end();
});
afterAll(async () => {
  await owner.end();
  await database.drop();
});

function row(overrides: Partial<RequestLogRow> = {}): RequestLogRow {
  return {
    id: newId(),
    tenant_id: newId(),
    api_key_id: newId(),
    client_request_id: null,
    channel: 'external',
    route: '/v1/chat/completions',
    model: 'test-model',
    is_stream: false,
    status: 200,
    error_code: null,
    end_reason: null,
    attempts: [],
    duration_ms: 1,
    ttft_ms: null,
    usage: null,
    ...overrides,
  };
}

function attempt(overrides: Partial<AttemptRow> = {}): AttemptRow {
  return {
    upstream_id: newId(),
    upstream_name: 'first upstream',
    provider_name: 'provider',
    status: 200,
    outcome: 'complete',
    is_served: true,
    ttft_ms: 3,
    duration_ms: 9,
    tokens: { output: 5 },
    upstream_cost_nano_usd: '9007199254740993',
    paid_by: 'tenant',
    ...overrides,
  };
}

async function createUpstream(): Promise<string> {
  const [providerId, id] = [newId(), newId()];
  await owner.query(
    `insert into provider (id, name, kind, base_url, api_key_encrypted) values ($1, $1::uuid::text, 'openai', 'x', '')`,
    [providerId],
  );
  await owner.query(
    `insert into upstream (id, provider_id, name, model, upstream_model) values ($1, $2, 'first upstream', 'm', 'm')`,
    [id, providerId],
  );
  return id;
}

async function attemptsOf(requestId: string): Promise<readonly object[]> {
  const { rows } = await owner.query<object>(
    `select attempt, model, upstream_id, upstream_name, provider_name, status, outcome, is_served, ttft_ms, duration_ms,
            tokens, upstream_cost_nano_usd, paid_by from request_attempt where request_id = $1 order by attempt`,
    [requestId],
  );
  return rows;
}

/** jsonb holds no NUL: SQLSTATE 22P05, for whichever batch the row is in. */
const badRow = (): RequestLogRow => row({ attempts: [attempt({ outcome: 'a\u0000b' })] });

async function written(rows: readonly RequestLogRow[]): Promise<boolean[]> {
  const found = await owner.query<{ id: string }>('select id from request_log where id = any ($1)', [
    rows.map(({ id }) => id),
  ]);
  const ids = new Set(found.rows.map(({ id }) => id));
  return rows.map(({ id }) => ids.has(id));
}

async function dropped(): Promise<number> {
  const metric = await metrics.registry.getSingleMetric('tollgate_request_log_dropped_total')?.get();
  return metric?.values[0]?.value ?? NaN;
}

describe('the request log', () => {
  it('loses only the rows that Postgres refuses, and counts them', async () => {
    const rows = [row(), row(), badRow(), row(), row(), badRow(), row()];
    for (const each of rows) writer.record(each);
    await writer.drain();
    expect(await written(rows)).toEqual([true, true, false, true, true, false, true]);
    expect(await dropped()).toBe(2);
  });

  it('keeps what a call used that no charge was made for, and null for any other', async () => {
    const usage = { tokens: { output: 5 }, counting_method: 'usage', price_version: '7', cost_nano_usd: '9' };
    const rows = [row({ usage }), row()];
    for (const each of rows) writer.record(each);
    await writer.drain();
    const kept = await owner.query<{ usage: unknown }>(
      'select usage from request_log where id = any ($1) order by usage is null',
      [rows.map(({ id }) => id)],
    );
    expect(kept.rows).toEqual([{ usage }, { usage: null }]);
  });

  it('drops and counts a batch while Postgres is away', async () => {
    await pool.end();
    const rows = [row(), row()];
    for (const each of rows) writer.record(each);
    await writer.drain();
    expect(await written(rows)).toEqual([false, false]);
    expect(await dropped()).toBe(2);
  });

  it('keeps the row of a key that is deleted while it is being written, without the key', async () => {
    const [tenantId, keyId] = [newId(), newId()];
    await owner.query(`insert into tenant (id, name, timezone) values ($1, 'test', 'UTC')`, [tenantId]);
    await owner.query(`insert into api_key (id, tenant_id, name, digest, hint) values ($1, $2, 'k', $3, 'h')`, [
      keyId,
      tenantId,
      Buffer.alloc(32),
    ]);
    const client = await owner.connect();
    await client.query('begin');
    await client.query('delete from api_key where id = $1', [keyId]);
    const kept = row({ api_key_id: keyId });
    writer.record(kept);
    const drained = writer.drain();
    await eventually('the row waits for the key', async () => {
      const { rows } = await owner.query(`select from pg_locks where not granted`);
      return rows.length > 0 ? true : undefined;
    });
    await client.query('commit');
    client.release();
    await drained;
    expect(await written([kept])).toEqual([true]);
    expect(await dropped()).toBe(0);
  });

  it('has a row for each attempt, in order, with what it cost and who pays', async () => {
    const upstreamId = await createUpstream();
    const served = attempt({ upstream_id: upstreamId });
    const failed = attempt({
      ...{ upstream_id: upstreamId, status: null, outcome: 'connect', is_served: false, ttft_ms: null, tokens: null },
      ...{ upstream_cost_nano_usd: '0', paid_by: 'nobody' as const },
    });
    const kept = row({ attempts: [failed, served] });
    const none = row();
    for (const each of [kept, none]) writer.record(each);
    await writer.drain();
    expect(await attemptsOf(kept.id)).toEqual([
      { attempt: 1, model: 'test-model', ...failed },
      { attempt: 2, model: 'test-model', ...served },
    ]);
    expect(await written([none])).toEqual([true]);
    expect(await attemptsOf(none.id)).toEqual([]);
  });

  it('keeps the name of an upstream that is deleted before its attempt is written, and after', async () => {
    const [before, after] = [await createUpstream(), await createUpstream()];
    await owner.query('delete from upstream where id = $1', [before]);
    const rows = [before, after].map((upstream_id) => row({ attempts: [attempt({ upstream_id })] }));
    for (const each of rows) writer.record(each);
    await writer.drain();
    await owner.query('delete from upstream where id = $1', [after]);
    for (const { id } of rows) {
      expect(await attemptsOf(id)).toMatchObject([{ upstream_id: null, upstream_name: 'first upstream' }]);
    }
    expect(await dropped()).toBe(0);
  });

  it('keeps an attempt whose upstream is deleted while it is being written, without the upstream', async () => {
    const upstreamId = await createUpstream();
    const client = await owner.connect();
    await client.query('begin');
    await client.query('delete from upstream where id = $1', [upstreamId]);
    const kept = row({ attempts: [attempt({ upstream_id: upstreamId })] });
    writer.record(kept);
    const drained = writer.drain();
    await eventually('the row waits for the upstream', async () => {
      const { rows } = await owner.query(`select from pg_locks where not granted`);
      return rows.length > 0 ? true : undefined;
    });
    await client.query('commit');
    client.release();
    await drained;
    expect(await attemptsOf(kept.id)).toMatchObject([{ upstream_id: null, upstream_name: 'first upstream' }]);
    expect(await dropped()).toBe(0);
  });
});
