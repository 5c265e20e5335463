import { Injectable } from '@nestjs/common';
import { Registry } from 'prom-client';
import {
  counter,
  CounterFamily,
  gauge,
  GaugeFamily,
  histogram,
  HistogramFamily,
  RequestCounter,
  type Description,
} from './metric-families';

/** Seconds. The hot path is expected in milliseconds, a model's first token in seconds. */
const FAST_S = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
/** A reservation takes around a millisecond, and what a limit costs it is told in tenths of one: a bucket each up to 5 ms. */
const QUOTA_CHECK_S = [...Array.from({ length: 50 }, (_, i) => (i + 1) / 10_000), ...FAST_S.filter((s) => s > 0.005)];
const SLOW_S = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120];
const ACCURACY_PERCENT = [50, 80, 90, 95, 97, 98, 98.5, 99, 99.5, 99.9, 100];

/**
 * Everything the product measures, by its exact name; dashboards and alerts are built on these. A field is a prepared
 * child (`inc()`, `observe(seconds)`, `set(value)`) or a family (`of(label)` gives the child).
 */
@Injectable()
export class Metrics {
  readonly registry = new Registry();

  readonly quotaCheckPassed = counter(this.named('quota_check_passed_total', 'Reservations admitted.'));
  readonly quotaCheckFailed = new CounterFamily(
    this.named('quota_check_failed_total', 'Reservations refused, by error code.'),
    'reason',
  );
  readonly quotaRefusalsPassed = new CounterFamily(
    this.named(
      'tollgate_quota_refusals_passed_total',
      'Refused reservations that shadow mode let pass, by the error code they would have met.',
    ),
    'reason',
  );
  readonly quotaCheckSeconds = histogram(
    this.named('quota_check_duration_seconds', 'From asking for a hold to its answer.'),
    QUOTA_CHECK_S,
  );

  readonly billingDeductSuccess = counter(this.named('billing_deduct_success_total', 'Charges committed.'));
  readonly billingDeductFailure = new CounterFamily(
    this.named('billing_deduct_failure_total', 'Charges that could not be written when they should have been.'),
    'reason',
  );
  readonly billingSeconds = histogram(
    this.named('billing_duration_seconds', 'From asking for a settle to its commit.'),
    FAST_S,
  );
  readonly billingIdempotentHit = counter(
    this.named(
      'billing_idempotent_hit_total',
      'Charges that were found written already, and answers replayed for their Idempotency-Key.',
    ),
  );
  readonly billingStreamPendingCreated = counter(
    this.named('billing_stream_pending_created_total', 'Streams whose PENDING row became durable.'),
  );
  readonly billingStreamCommitted = counter(
    this.named('billing_stream_committed_total', 'Streams whose charge was committed.'),
  );
  readonly billingStreamFailed = counter(
    this.named('billing_stream_failed_total', 'Streams whose charge was voided or could not be written.'),
  );
  readonly streamTokenCalculation = new CounterFamily(
    this.named('stream_token_calculation_total', 'How tokens of a stream were counted: usage, tokenizer, estimated.'),
    'method',
  );
  readonly streamTokenAccuracy = histogram(
    this.named(
      'stream_token_accuracy_percent',
      'How near our tokenizer comes to the reported output tokens, in one stream of a hundred.',
    ),
    ACCURACY_PERCENT,
  );
  readonly streamExtensions = new CounterFamily(
    this.named(
      'tollgate_stream_extensions_total',
      'Larger holds that streams asked for: granted, refused by a limit, or unavailable.',
    ),
    'outcome',
  );
  readonly streamGuard = new CounterFamily(
    this.named(
      'tollgate_stream_guard_total',
      'What became of streams whose larger hold was refused: cut, overdraft (goes on), overdraft_cut, finish, shadow.',
    ),
    'outcome',
  );
  readonly answersBeforeSettle = counter(
    this.named('tollgate_answers_before_settle_total', 'Answers completed before their settle was committed.'),
  );

  readonly redisLuaSeconds = new HistogramFamily(
    this.named('redis_lua_duration_seconds', 'Round trip of a script.'),
    'script',
    FAST_S,
  );

  readonly requests = new RequestCounter(
    this.named('tollgate_requests_total', 'Requests answered, by route and status.'),
  );
  readonly requestsInFlight = gauge(this.named('tollgate_requests_in_flight', 'Requests being answered.'));
  readonly ttftSeconds = histogram(
    this.named('tollgate_ttft_seconds', 'From a request to its first byte of answer.'),
    SLOW_S,
  );
  readonly upstreamAttempts = new CounterFamily(
    this.named('tollgate_upstream_attempts_total', 'Attempts at an upstream, by how they ended.'),
    'outcome',
  );
  readonly affinity = new CounterFamily(
    this.named(
      'tollgate_affinity_total',
      'Calls of sessions by which upstream they ask first (chosen, followed, unavailable: plain order), and their reports ' +
        '(confirmed, failed, overtaken by a newer choice, dropped).',
    ),
    'outcome',
  );
  readonly upstreamBreakerLevel = new GaugeFamily(
    this.named('tollgate_upstream_breaker_level', 'Breaker of an upstream: 0 closed, 1 half-open, 2 open.'),
    'upstream',
  );
  readonly upstreamBreakerOpened = new CounterFamily(
    this.named('tollgate_upstream_breaker_opened_total', 'Breakers that this process opened, by upstream.'),
    'upstream',
  );
  readonly upstreamInFlight = new GaugeFamily(
    this.named('tollgate_upstream_in_flight', 'Attempts under way at an upstream.'),
    'upstream',
  );
  readonly upstreamAuthFailures = new CounterFamily(
    this.named('upstream_auth_failures_total', 'Attempts whose upstream refused our credentials (401, 403).'),
    'upstream',
  );
  readonly retriesRefused = counter(
    this.named(
      'tollgate_retries_refused_total',
      'Failed attempts that were not tried again: the retry budget was used up.',
    ),
  );
  readonly requestLogDropped = counter(
    this.named(
      'tollgate_request_log_dropped_total',
      'Request log rows dropped: the queue was full, or Postgres did not take them.',
    ),
  );

  readonly holdsOpen = gauge(this.named('tollgate_holds_open', 'Holds of this process that have not ended.'));
  readonly holdOldestSeconds = gauge(
    this.named('tollgate_hold_oldest_seconds', 'Age of the oldest of them; 0 for none.'),
  );
  readonly writerQueueDepth = new GaugeFamily(
    this.named('tollgate_writer_queue_depth', 'Entries waiting in a bounded queue.'),
    'queue',
  );
  readonly quotaMode = gauge(
    this.named('tollgate_quota_mode', 'Who decides over quota, as far as this process knows: 0 Redis, 1 Postgres.'),
  );
  readonly circuitLevel = new GaugeFamily(
    this.named('tollgate_circuit_level', 'Circuit around a store: 0 closed, 1 half-open, 2 open.'),
    'store',
  );
  readonly ratesInProcess = counter(
    this.named(
      'tollgate_rates_in_process_total',
      'Calls whose limits a minute this process judged alone, because Redis was not there.',
    ),
  );
  readonly invariantViolations = gauge(
    this.named('tollgate_invariant_violations', 'Violations that the last check of the invariants found.'),
  );

  readonly partitionMonthsAhead = gauge(
    this.named(
      'tollgate_partition_months_ahead',
      'Months after the current one that have partitions, as of the last daily look; negative where the current has none.',
    ),
  );
  readonly partitionStrays = gauge(
    this.named(
      'tollgate_partition_stray_rows',
      'Rows in DEFAULT partitions, as of the last daily look: 0 when all is well.',
    ),
  );

  private readonly samplers: (() => void)[] = [];

  /** Runs `sample` before each scrape: for gauges that are read rather than counted. Must be quick and synchronous. */
  beforeScrape(sample: () => void): void {
    this.samplers.push(sample);
  }

  /** The exposition text of everything, with the content type of its format. */
  async scrape(): Promise<{ readonly contentType: string; readonly text: string }> {
    for (const sample of this.samplers) sample();
    return { contentType: this.registry.contentType, text: await this.registry.metrics() };
  }

  private named(name: string, help: string): Description {
    return { registry: this.registry, name, help };
  }
}
