import { randomUUID } from 'node:crypto';
import type { Client } from 'pg';
import { pricesJson } from '../../../src/catalogue/price-json';
import { ChargeWriter } from '../../../src/billing/writer/charge-writer';
import { newId } from '../../../src/kernel/ids';
import { LedgerCircuit } from '../../../src/platform/circuit/ledger-circuit';
import { APPLICATION_ROLE } from '../../../src/platform/database/pg-connection';
import { Metrics } from '../../../src/platform/metrics/metrics';
import { settledAt } from '../../support/charge-writer-harness';
import { ONE_NANO_A_TOKEN } from '../../support/money-harness';
import { testSettings } from '../../support/test-settings';
import type { FilledTenant } from './fill';

const COST_NANO_USD = 100_000;

export interface Latencies {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly perSecond: number;
}

/** The product's own group-commit writer on the big ledger, as one registered process. */
export class Settles {
  private readonly processId = newId();
  private epoch = '';

  private constructor(
    private readonly writer: ChargeWriter,
    private readonly tenants: readonly FilledTenant[],
  ) {}

  static async open(databaseUrl: string, client: Client, tenants: readonly FilledTenant[]): Promise<Settles> {
    const metrics = new Metrics();
    const writer = new ChargeWriter(
      { url: databaseUrl, role: APPLICATION_ROLE },
      metrics,
      new LedgerCircuit(testSettings(), metrics),
    );
    const settles = new Settles(writer, tenants);
    await client.query(
      `insert into gateway_process (id, host, pid, oldest_open_id)
         values ($1, 'bench', 1, '00000000-0000-0000-0000-000000000000')`,
      [settles.processId],
    );
    const { rows } = await client.query<{ epoch: string }>('select epoch from quota_authority');
    settles.epoch = rows[0]?.epoch ?? '';
    return settles;
  }

  /**
   * `count` calls, `concurrency` open at once, each of a tenant in turn; every other one a stream, whose PENDING row stands
   * before it settles. The time is that from asking for the settle to hearing of its commit.
   */
  async measure(count: number, concurrency: number): Promise<Latencies> {
    const tookMs: number[] = [];
    let next = 0;
    const startMs = performance.now();
    const caller = async (): Promise<void> => {
      while (next < count) tookMs.push(await this.settleOne(next++));
    };
    await Promise.all(Array.from({ length: concurrency }, caller));
    const seconds = (performance.now() - startMs) / 1_000;
    tookMs.sort((a, b) => a - b);
    return { p50Ms: share(tookMs, 0.5), p99Ms: share(tookMs, 0.99), perSecond: count / seconds };
  }

  close(): Promise<void> {
    return this.writer.onApplicationShutdown();
  }

  private async settleOne(n: number): Promise<number> {
    const tenant = this.tenants[n % this.tenants.length];
    if (!tenant) throw new Error('there are no tenants');
    const isStream = n % 2 === 0;
    const admission = this.writer.admit({
      id: newId(),
      tenant_id: tenant.tenantId,
      trace_id: newId(),
      channel: 'external',
      is_stream: isStream,
      epoch: this.epoch,
      process_id: this.processId,
      hold_nano_usd: String(COST_NANO_USD),
      credit_limit_nano_usd: '0',
      balance_before_nano_usd: String(COST_NANO_USD),
      balance_after_nano_usd: '0',
      day_window_start_ms: 0,
      month_window_start_ms: 0,
      api_key_id: randomUUID(),
      api_key_name: 'bench key',
      model: 'bench-model',
      price_version: '1',
      prices: pricesJson(ONE_NANO_A_TOKEN),
      input_tokens_estimate: 0,
      scopes: null,
      funding: 'wallet',
    });
    if (admission === undefined) throw new Error('the writer is full');
    if (isStream) await admission.done;
    const startMs = performance.now();
    const { outcome } = await this.writer.end(admission, { fields: settledAt(COST_NANO_USD) });
    if (outcome !== 'committed') throw new Error(`a settle came to ${outcome}`);
    return performance.now() - startMs;
  }
}

function share(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}
