import { Inject, Injectable, Logger } from '@nestjs/common';
import type { TokenCounts } from '../../../catalogue/price';
import { CLOCK, type Clock } from '../../../kernel/clock';
import { type Refusal, refuse } from '../../../kernel/errors';
import { Settings } from '../../../platform/config/settings';
import { Drain } from '../../../platform/http/drain';
import { Metrics } from '../../../platform/metrics/metrics';
import { isUpstreamFault } from '../../../routing/attempt-policy';
import { Router } from '../../../routing/router';
import type { Seat } from '../../../routing/seat';
import type { RoutableUpstream } from '../../../upstreams/upstream-directory';
import { type ProviderKind, type Upstream, type UpstreamRequest, UPSTREAMS } from '../../../upstreams/upstream.port';
import type { StreamPump } from '../../stream/stream-pump';
import type { Dialect } from '../../dialects/dialect';
import { DIALECT_PATHS } from '../../../upstreams/dialect-paths';
import { DIALECTS } from '../../dialects/dialects';
import { usageReportedIn } from '../../dialects/reported-usage';
import { StreamPumps } from '../stream-pumps';
import { tokensSoFar } from '../../stream/tokens-so-far';
import type { StreamClientListener } from '../../stream/stream-client';
import { type AttemptResult, ResponseReader } from '../../stream/response-reader';
import { upstreamCostOf } from '../../../upstreams/upstream-cost';
import { Attempt, houseCostsOf } from '../attempt';
import { type AttemptVerdict, judgeAttempt } from '../attempt-verdict';
import type { WorkflowContext } from '../workflow.context';
import type { StepOutcome, WorkflowStep } from '../workflow-step';

/** The gate of a call that holds nothing (RUN_MODE=simple). */
const OPEN: Promise<undefined> = Promise.resolve(undefined);
const NOBODY: StreamClientListener = { onDrain: () => undefined, onClose: () => undefined };

/**
 * The call: candidates in turn until one answers, failing over only while the client has not been sent a byte. A stream
 * is pumped here to its end. The PENDING row becomes durable side by side with the call; a stream's first byte waits for
 * it, and a call whose row does not stand in time is given up.
 */
@Injectable()
export class UpstreamCallStep implements WorkflowStep {
  readonly name = 'upstream_call';
  readonly dependsOn = ['quota_check'];
  private readonly logger = new Logger(UpstreamCallStep.name);

  constructor(
    @Inject(UPSTREAMS) private readonly upstreams: ReadonlyMap<ProviderKind, Upstream>,
    private readonly router: Router,
    private readonly drain: Drain,
    private readonly settings: Settings,
    private readonly metrics: Metrics,
    private readonly pumps: StreamPumps,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  async execute(context: WorkflowContext): Promise<StepOutcome> {
    const { candidates, wireOf } = context.templateRender;
    const gate = context.has('quotaCheck') ? context.quotaCheck.charge.durable() : OPEN;
    this.router.retries.countCall();
    let failed: Refusal | undefined;
    for (const candidate of candidates) {
      if (context.request.client.isGone) return refuse('CLIENT_CLOSED_REQUEST');
      const seat = this.router.take(candidate);
      if (!seat) continue;
      if (failed && !this.router.retries.spend()) {
        seat.leave();
        this.metrics.retriesRefused.inc();
        return failed;
      }
      const { verdict, attempt } = await this.attempt(context, candidate, seat, gate).finally(() => {
        seat.leave();
      });
      if (verdict.kind === 'answered') {
        context.answeredBy(candidate);
        context.isPastNoReturn = context.request.client.isOpened;
        const ttftMs = (verdict.firstByteAtMs ?? this.clock.monotonicMs()) - context.request.receivedMonotonicMs;
        context.upstreamCall = {
          servedBy: candidate,
          wire: wireOf(candidate),
          attempt,
          answer: verdict.answer,
          ttftMs,
        };
        return undefined;
      }
      if (verdict.kind === 'rejected') return verdict.refusal;
      failed = verdict.refusal;
    }
    // Those that were left have become full or asked for time since they were planned.
    return failed ?? refuse('NO_UPSTREAM_AVAILABLE', { values: { model: context.routing.model }, retryAfterMs: 1_000 });
  }

  private async attempt(
    context: WorkflowContext,
    candidate: RoutableUpstream,
    seat: Seat,
    gate: Promise<Refusal | undefined>,
  ): Promise<{ readonly verdict: AttemptVerdict; readonly attempt: Attempt }> {
    const { attempts, request, templateRender, validation } = context;
    const wire = DIALECTS[templateRender.wireOf(candidate)];
    const startedMs = this.clock.monotonicMs();
    const stopped: { refusal?: Refusal } = {};
    const { result, reader } = await this.call(context, candidate, seat, gate, stopped);
    const fault = result.kind === 'stream' ? result.ending.fault : undefined;
    if (fault !== undefined) {
      const { traceId } = request;
      this.logger.warn({ msg: 'a stream was broken off', traceId, upstream: candidate.target.upstreamName, fault });
    }
    const made = attempts.length + 1;
    const judged = judgeAttempt(result, {
      target: candidate.target,
      readAnswer: wire.readAnswer,
      isTranslated: wire.name !== request.dialect,
      model: validation.request.model,
      isOpened: request.client.isOpened,
      attempts: made,
      hasNext: candidate !== templateRender.candidates.at(-1),
      nowMs: this.clock.nowMs(),
    });
    // What we broke off ourselves says nothing about the upstream.
    if (!stopped.refusal) {
      if (judged.verdict.kind === 'answered' && reader.firstByteAtMs !== undefined) seat.began(reader.firstByteAtMs);
      seat.leave(judged.reported);
    }
    const outcome = stopped.refusal?.code ?? judged.label;
    this.metrics.upstreamAttempts.of(outcome).inc();
    const verdict: AttemptVerdict = stopped.refusal ? { kind: 'rejected', refusal: stopped.refusal } : judged.verdict;
    const attempt = new Attempt({
      upstream: candidate,
      status: reader.status,
      outcome,
      isUpstreamFault: !stopped.refusal && isUpstreamFault(judged.reported),
      isServed: verdict.kind === 'answered',
      ttftMs: reader.firstByteAtMs === undefined ? null : Math.round(reader.firstByteAtMs - startedMs),
      durationMs: Math.round(this.clock.monotonicMs() - startedMs),
      usage: reportedUsage(result, reader, verdict, wire),
    });
    attempts.push(attempt);
    return { verdict, attempt };
  }

  /** One attempt to its end. Whatever ends it from our side (no row, shutdown, client gone) is put into `stopped`. */
  private async call(
    context: WorkflowContext,
    candidate: RoutableUpstream,
    seat: Seat,
    gate: Promise<Refusal | undefined>,
    stopped: { refusal?: Refusal },
  ): Promise<{ readonly result: AttemptResult; readonly reader: ResponseReader }> {
    const adapter = this.upstreams.get(candidate.kind);
    if (!adapter) throw new Error(`no adapter for providers of kind ${candidate.kind}`);
    const isStream = context.validation.request.stream;
    const createPump = (): StreamPump => {
      seat.began(this.clock.monotonicMs());
      return this.pumpOf(context, candidate, gate);
    };
    const reader = new ResponseReader(this.clock, isStream ? createPump : undefined);
    const call = adapter.start(candidate.target, upstreamRequestOf(context, candidate), reader);
    reader.attach(call);
    const stop = (refusal: Refusal): void => {
      stopped.refusal ??= refusal;
      reader.cut(refusal.code);
    };
    const forgetDeadline = this.drain.onDeadline(() => {
      // A stream that runs is cut and settled by what was delivered; its ending says so.
      if (reader.isPumping) reader.cut('SHUTTING_DOWN');
      else stop(refuse('SHUTTING_DOWN'));
    });
    let isOver = false;
    void gate.then((refusal) => {
      if (refusal && !isOver) stop(refusal);
    });
    const forgetClient = this.giveUpWithoutClient(context, () => {
      // From its first byte on a stream listens for its client itself.
      if (!reader.isPumping) stop(refuse('CLIENT_CLOSED_REQUEST'));
    });
    const result = await reader.result;
    isOver = true;
    forgetDeadline();
    forgetClient();
    return { result, reader };
  }

  private pumpOf(
    context: WorkflowContext,
    candidate: RoutableUpstream,
    firstByteGate: Promise<Refusal | undefined>,
  ): StreamPump {
    context.answeredBy(candidate);
    const pump = this.pumps.of(context, candidate, firstByteGate);
    if (context.has('quotaCheck')) this.checkpoint(context, candidate, pump);
    return pump;
  }

  /** Should this process die, what the stream had delivered is charged. */
  private checkpoint(context: WorkflowContext, upstream: RoutableUpstream, pump: StreamPump): void {
    const { target } = upstream;
    const { request } = context.validation;
    const houseCosts = houseCostsOf(context.attempts);
    const imageTokens = request.images * context.routing.profile.tokensPerImage;
    const { upstreamId, upstreamName, providerName } = target;
    context.quotaCheck.charge.checkpointFrom(() => {
      const counted = tokensSoFar(pump.progress, request, imageTokens);
      if (!counted) return undefined;
      const upstreamCost = upstreamCostOf(counted.tokens, upstream);
      return { ...counted, servedBy: { upstreamId, upstreamName, providerName }, upstreamCost, houseCosts };
    });
  }

  /** An answer whose client has left is still waited for, to bill what the provider reports; or not at all. */
  private giveUpWithoutClient(context: WorkflowContext, stop: () => void): () => void {
    let timer: NodeJS.Timeout | undefined;
    const onClose = (): void => {
      const waitMs = this.settings.disconnectPolicy === 'cut' ? 0 : this.settings.disconnectDrainMs;
      timer = setTimeout(stop, waitMs);
    };
    context.request.client.listen({ onDrain: () => undefined, onClose });
    if (context.request.client.isGone) onClose();
    return () => {
      clearTimeout(timer);
      context.request.client.listen(NOBODY);
    };
  }
}

function upstreamRequestOf({ templateRender, request }: WorkflowContext, candidate: RoutableUpstream): UpstreamRequest {
  const wire = templateRender.wireOf(candidate);
  const body = templateRender.bodyFor(candidate);
  // What the client says in headers only a provider of its own dialect understands.
  if (wire !== request.dialect) return { path: DIALECT_PATHS[wire], body, headers: {} };
  return { path: DIALECT_PATHS[wire] + request.upstreamQuery, body, headers: request.upstreamHeaders };
}

/** What the provider told of its work, also where nothing of it is an answer: it may charge us for it. */
function reportedUsage(
  result: AttemptResult,
  reader: ResponseReader,
  verdict: AttemptVerdict,
  wire: Dialect,
): TokenCounts | undefined {
  if (result.kind === 'stream') {
    const { accumulator, answer } = result.ending;
    const { errorFrame } = accumulator;
    return (errorFrame && usageReportedIn(errorFrame, wire.usageFrom)) ?? answer.usage;
  }
  if (verdict.kind === 'answered' && verdict.answer.kind === 'body') return verdict.answer.completion.usage;
  return usageReportedIn(reader.body, wire.usageFrom);
}
