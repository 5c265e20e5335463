import { Logger } from '@nestjs/common';
import { Client, Pool } from 'pg';
import { type AdmitRow, type EndFields, settleFields, voidFields } from '../../src/billing/writer/charge-rows';
import { ChargeWriter } from '../../src/billing/writer/charge-writer';
import { pricesJson } from '../../src/catalogue/price-json';
import { newId } from '../../src/kernel/ids';
import { LedgerCircuit } from '../../src/platform/circuit/ledger-circuit';
import { APPLICATION_ROLE } from '../../src/platform/database/pg-connection';
import { Metrics } from '../../src/platform/metrics/metrics';
import { ONE_NANO_A_TOKEN, outputOf } from './money-harness';
import { createTestDatabase, type TestDatabase } from './test-database';
import { testSettings } from './test-settings';

export interface Accounts {
  readonly wallet: { readonly posted: bigint; readonly version: bigint };
  readonly overrun: { readonly posted: bigint; readonly version: bigint };
}

/** The writer of one registered process on a database of its own, without Redis: rows in, ledger out. */
export class ChargeWriterHarness {
  readonly metrics = new Metrics();
  readonly writer: ChargeWriter;
  readonly processId = newId();
  /** The one that is current when the harness opens. */
  private epoch = '';
  private readonly held = new Set<() => Promise<void>>();

  private constructor(
    readonly database: TestDatabase,
    /** The owner's connections: no application role, no lock timeout. */
    readonly pool: Pool,
  ) {
    this.writer = this.newWriter();
  }

  /** One more writer of the same process; the caller shuts it down. */
  newWriter(): ChargeWriter {
    const circuit = new LedgerCircuit(testSettings(), this.metrics);
    return new ChargeWriter({ url: this.database.url, role: APPLICATION_ROLE }, this.metrics, circuit);
  }

  static async open(): Promise<ChargeWriterHarness> {
    Logger.overrideLogger(false);
    const database = await createTestDatabase();
    const pool = new Pool({ connectionString: database.url, max: 4 });
    // A connection that is still closing hears of the database being dropped.
    pool.on('error', () => undefined);
    const harness = new ChargeWriterHarness(database, pool);
    await harness.register(harness.processId);
    const { rows } = await harness.pool.query<{ epoch: string }>('select epoch from quota_authority');
    harness.epoch = rows[0]?.epoch ?? '';
    return harness;
  }

  async register(processId: string): Promise<void> {
    await this.pool.query(
      `insert into gateway_process (id, host, pid, oldest_open_id) values ($1, 'test', 1, '00000000-0000-0000-0000-000000000000')`,
      [processId],
    );
  }

  /** A tenant whose wallet begins with `posted`, as if transfers not told of had made it. */
  async createTenant(posted = 0n, creditLimit = 0n): Promise<string> {
    const tenantId = newId();
    await this.pool.query(`insert into tenant (id, name, timezone) values ($1, 'test', 'UTC')`, [tenantId]);
    await this.pool.query(
      `insert into ledger_account (id, tenant_id, name, posted_nano_usd, credit_limit_nano_usd)
         values ($1, $3, 'wallet', $4, $5), ($2, $3, 'overrun', 0, 0)`,
      [newId(), newId(), tenantId, posted.toString(), creditLimit.toString()],
    );
    return tenantId;
  }

  row(tenantId: string, overrides: Partial<AdmitRow> = {}): AdmitRow {
    return {
      id: newId(),
      tenant_id: tenantId,
      trace_id: newId(),
      channel: 'external',
      is_stream: true,
      epoch: this.epoch,
      process_id: this.processId,
      hold_nano_usd: '0',
      credit_limit_nano_usd: '0',
      balance_before_nano_usd: '0',
      balance_after_nano_usd: '0',
      day_window_start_ms: 0,
      month_window_start_ms: 0,
      api_key_id: newId(),
      api_key_name: 'test key',
      model: 'test-model',
      price_version: '1',
      prices: pricesJson(ONE_NANO_A_TOKEN),
      input_tokens_estimate: 0,
      scopes: null,
      funding: 'wallet',
      ...overrides,
    };
  }

  async accounts(tenantId: string): Promise<Accounts> {
    const { rows } = await this.pool.query<{ name: 'wallet' | 'overrun'; posted: string; version: string }>(
      `select name, posted_nano_usd as posted, version from ledger_account where tenant_id = $1`,
      [tenantId],
    );
    const of = (name: string): Accounts['wallet'] => {
      const row = rows.find((account) => account.name === name);
      return { posted: BigInt(row?.posted ?? 0), version: BigInt(row?.version ?? 0) };
    };
    return { wallet: of('wallet'), overrun: of('overrun') };
  }

  async statusOf(id: string): Promise<{ status: string; reason_code: string | null } | undefined> {
    const { rows } = await this.pool.query<{ status: string; reason_code: string | null }>(
      `select status, reason_code from billing_transaction where id = $1`,
      [id],
    );
    return rows[0];
  }

  /** Holds the tenant's wallet row until the answer is called. */
  lockWallet(tenantId: string): Promise<() => Promise<void>> {
    return this.hold(`select 1 from ledger_account where tenant_id = $1 and name = 'wallet' for update`, [tenantId]);
  }

  /** Keeps the locks of a statement on a connection of its own; the answer takes everything back. */
  async hold(statement: string, values: unknown[]): Promise<() => Promise<void>> {
    const client = new Client({ connectionString: this.database.url });
    await client.connect();
    await client.query('begin');
    await client.query(statement, values);
    const release = async (): Promise<void> => {
      if (!this.held.delete(release)) return;
      await client.query('rollback');
      await client.end();
    };
    this.held.add(release);
    return release;
  }

  /** What a failed test left locked must not block the next one. */
  async releaseLocks(): Promise<void> {
    await Promise.all([...this.held].map((release) => release()));
  }

  async close(): Promise<void> {
    await this.writer.onApplicationShutdown();
    await this.pool.end();
    await this.database.drop();
  }
}

/** Settles at one nano-USD a token. */
export function settledAt(nanoUsd: number): EndFields {
  const { amount, ...fields } = settleFields(ONE_NANO_A_TOKEN, outputOf(nanoUsd));
  return { ...fields, amount_nano_usd: amount.toString() };
}

export const VOIDED: EndFields = voidFields({ reasonCode: 'UPSTREAM_ERROR', endReason: 'failed' });
