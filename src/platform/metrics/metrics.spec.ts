import { Test } from '@nestjs/testing';
import { testSettings } from '../../../test/support/test-settings';
import { Settings } from '../config/settings';
import { SettingsModule } from '../config/settings.module';
import { Metrics } from './metrics';
import { MetricsModule } from './metrics.module';
import { MetricsServer } from './metrics-server';

const NAMES = [
  'tollgate_retries_refused_total',
  'tollgate_upstream_breaker_level',
  'tollgate_upstream_breaker_opened_total',
  'tollgate_upstream_in_flight',
  'upstream_auth_failures_total',
  'quota_check_passed_total',
  'quota_check_failed_total',
  'quota_check_duration_seconds',
  'billing_deduct_success_total',
  'billing_deduct_failure_total',
  'billing_duration_seconds',
  'billing_idempotent_hit_total',
  'billing_stream_pending_created_total',
  'billing_stream_committed_total',
  'billing_stream_failed_total',
  'stream_token_calculation_total',
  'stream_token_accuracy_percent',
  'redis_lua_duration_seconds',
  'tollgate_requests_total',
  'tollgate_requests_in_flight',
  'tollgate_ttft_seconds',
  'tollgate_upstream_attempts_total',
  'tollgate_affinity_total',
  'tollgate_holds_open',
  'tollgate_hold_oldest_seconds',
  'tollgate_writer_queue_depth',
  'tollgate_request_log_dropped_total',
  'tollgate_stream_extensions_total',
  'tollgate_stream_guard_total',
  'tollgate_answers_before_settle_total',
  'tollgate_quota_mode',
  'tollgate_circuit_level',
  'tollgate_quota_refusals_passed_total',
  'tollgate_rates_in_process_total',
  'tollgate_invariant_violations',
  'tollgate_partition_months_ahead',
  'tollgate_partition_stray_rows',
];

describe('Metrics', () => {
  it('has every metric that dashboards and alerts are built on, by its exact name', async () => {
    const { text } = await new Metrics().scrape();
    const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
    expect(names.sort()).toEqual([...NAMES].sort());
  });

  it('shows what was counted, observed and set', async () => {
    const metrics = new Metrics();
    metrics.quotaCheckPassed.inc();
    metrics.quotaCheckFailed.of('QUOTA_BALANCE_EXCEEDED').inc();
    metrics.quotaCheckFailed.of('QUOTA_BALANCE_EXCEEDED').inc();
    metrics.quotaCheckSeconds.observe(0.003);
    metrics.redisLuaSeconds.of('quota_deduct').observe(0.0004);
    metrics.requests.of('/v1/models', 200).inc();
    metrics.writerQueueDepth.of('settle').set(7);
    const { text } = await metrics.scrape();
    expect(text).toContain('quota_check_passed_total 1');
    expect(text).toContain('quota_check_failed_total{reason="QUOTA_BALANCE_EXCEEDED"} 2');
    expect(text).toContain('quota_check_duration_seconds_bucket{le="0.005"} 1');
    expect(text).toContain('redis_lua_duration_seconds_count{script="quota_deduct"} 1');
    expect(text).toContain('tollgate_requests_total{route="/v1/models",status="200"} 1');
    expect(text).toContain('tollgate_writer_queue_depth{queue="settle"} 7');
  });

  it('tells tenths of a millisecond of a quota check apart', async () => {
    const metrics = new Metrics();
    for (const tenths of [1, 2, 33, 50]) metrics.quotaCheckSeconds.observe((tenths - 0.5) / 10_000);
    const { text } = await metrics.scrape();
    const upTo = (le: string): string | undefined =>
      text.match(`quota_check_duration_seconds_bucket\\{le="${le}"\\} (\\d+)`)?.[1];
    expect(['0.0001', '0.0002', '0.0032', '0.0033', '0.0049', '0.005'].map(upTo)).toEqual([
      '1',
      '2',
      '2',
      '3',
      '3',
      '4',
    ]);
  });

  it('bounds the values of a label, whatever is counted', async () => {
    const metrics = new Metrics();
    for (let index = 0; index < 5_000; index++) metrics.upstreamAttempts.of(`outcome-${index}`).inc();
    const { text } = await metrics.scrape();
    expect(text.match(/^tollgate_upstream_attempts_total\{/gm)?.length).toBeLessThanOrEqual(201);
    expect(text).toContain('tollgate_upstream_attempts_total{outcome="other"} 4800');
  });

  it('reads sampled gauges at each scrape', async () => {
    const metrics = new Metrics();
    let open = 3;
    metrics.beforeScrape(() => {
      metrics.holdsOpen.set(open);
    });
    expect((await metrics.scrape()).text).toContain('tollgate_holds_open 3');
    open = 0;
    expect((await metrics.scrape()).text).toContain('tollgate_holds_open 0');
  });
});

describe('METRICS_PORT', () => {
  it('serves /metrics, with the measurements of the process, and nothing else', async () => {
    const app = await startWith(testSettings({ metricsPort: 0 }));
    try {
      const url = `http://127.0.0.1:${String(app.get(MetricsServer).port)}`;
      const answer = await fetch(`${url}/metrics`);
      expect(answer.status).toBe(200);
      expect(answer.headers.get('content-type')).toContain('text/plain; version=0.0.4');
      const text = await answer.text();
      expect(text).toContain('quota_check_passed_total 0');
      expect(text).toContain('process_cpu_seconds_total');
      expect((await fetch(`${url}/`)).status).toBe(404);
    } finally {
      await app.close();
    }
  });

  it('says which variable is wrong when its port is taken', async () => {
    const first = await startWith(testSettings({ metricsPort: 0 }));
    const taken = first.get(MetricsServer).port ?? 0;
    try {
      await expect(startWith(testSettings({ metricsPort: taken }))).rejects.toThrow('METRICS_PORT: cannot listen');
    } finally {
      await first.close();
    }
  });
});

async function startWith(
  settings: Settings,
): Promise<{ get: <T>(type: new (...args: never[]) => T) => T; close(): Promise<void> }> {
  const module = await Test.createTestingModule({
    imports: [SettingsModule.register(settings), MetricsModule],
  }).compile();
  await module.init();
  return module;
}
