import { Inject, Injectable, Logger } from '@nestjs/common';
import { type AttemptRow, type LoggedUsage, RequestLogWriter } from '../billing/request-log/request-log.writer';
import { TOKEN_BUCKETS, type TokenCounts } from '../catalogue/price';
import { CLOCK, type Clock } from '../kernel/clock';
import { type Refusal, refusalStatus } from '../kernel/errors';
import { Metrics } from '../platform/metrics/metrics';
import type { Attempt } from './workflow/attempt';
import type { WorkflowContext } from './workflow/workflow.context';

/** Writes down how an exchange ended: one row in the request log, one count. */
@Injectable()
export class ExchangeLog {
  private readonly logger = new Logger(ExchangeLog.name);

  constructor(
    private readonly rows: RequestLogWriter,
    private readonly metrics: Metrics,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /** @param isTold whether this is what the client was told, not a run after which another model was asked */
  record(context: WorkflowContext, refusal: Refusal | undefined, isTold = true): void {
    const { request, attempts } = context;
    const { client, principal } = request;
    const isStream = context.has('validation') && context.validation.request.stream;
    const ended = context.has('responseTransform') ? context.responseTransform : undefined;
    // A stream whose head went out was answered with 200, however it ended.
    const status = refusal && !client.isOpened ? refusalStatus(refusal) : (context.replay?.answer.status ?? 200);
    if (isTold) this.metrics.requests.of(request.route, status).inc();
    if (isTold && isStream && (refusal || ended?.isFree)) this.metrics.billingStreamFailed.inc();
    this.rows.record({
      id: request.traceId,
      tenant_id: principal.tenantId,
      api_key_id: principal.apiKeyId,
      client_request_id: request.clientRequestId ?? null,
      channel: request.channel,
      route: request.route,
      model: modelOf(context),
      is_stream: isStream,
      status,
      error_code: refusal?.code ?? ended?.streamRefusal?.code ?? null,
      end_reason: isTold ? (context.replay ? 'replayed' : (ended?.endReason ?? null)) : 'fell_back',
      attempts: attempts.map(rowOf),
      duration_ms: Math.round(this.clock.monotonicMs() - request.receivedMonotonicMs),
      ttft_ms: context.has('upstreamCall') ? rounded(context.upstreamCall.ttftMs) : null,
      usage: unchargedUsage(context),
    });
  }

  /** What should not happen after the workflow: an answer that could not be given, a charge that could not be ended. */
  failed(context: WorkflowContext, error: unknown): void {
    this.logger.error({ msg: 'an exchange could not be concluded', traceId: context.request.traceId, err: error });
  }
}

/** The one that is served; of a call that was not routed the name that was asked for. */
function modelOf(context: WorkflowContext): string | null {
  if (context.has('routing')) return context.routing.model;
  return context.has('validation') ? context.validation.request.model : null;
}

function rowOf({ facts, tokens, upstreamCost, paidBy }: Attempt): AttemptRow {
  const { target } = facts.upstream;
  return {
    upstream_id: target.upstreamId,
    upstream_name: target.upstreamName,
    provider_name: target.providerName,
    status: facts.status,
    outcome: facts.outcome,
    is_served: facts.isServed,
    ttft_ms: facts.ttftMs,
    duration_ms: facts.durationMs,
    tokens: tokens ? usedBuckets(tokens) : null,
    upstream_cost_nano_usd: upstreamCost.toString(),
    paid_by: paidBy,
  };
}

/** Where calls are not charged this is the only record of what they used. */
function unchargedUsage(context: WorkflowContext): LoggedUsage | null {
  const cost = context.has('billing') ? context.billing.uncharged : undefined;
  if (cost === undefined) return null;
  const { tokens, method } = context.responseTransform;
  return {
    tokens: usedBuckets(tokens),
    counting_method: method,
    price_version: context.routing.price.version,
    cost_nano_usd: cost.toString(),
  };
}

/** Under the names that the rows of charges have. */
function usedBuckets(tokens: TokenCounts): Readonly<Record<string, number>> {
  const used = TOKEN_BUCKETS.filter((bucket) => tokens[bucket] > 0);
  return Object.fromEntries(used.map((bucket) => [snakeCase(bucket), tokens[bucket]]));
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function rounded(value: number | undefined): number | null {
  return value === undefined ? null : Math.round(value);
}
