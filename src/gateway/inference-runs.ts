import { Inject, Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../auth/principal';
import { CLOCK, type Clock } from '../kernel/clock';
import { type ErrorCode, type Refusal, refuse } from '../kernel/errors';
import { newId } from '../kernel/ids';
import { Settings } from '../platform/config/settings';
import { Router } from '../routing/router';
import { ExchangeLog } from './exchange-log';
import { outlastsAnswer } from './http/in-flight';
import { KeyedAnswers } from './idempotency/keyed-answers';
import { InferenceExchange } from './inference-exchange';
import type { InferenceRoute } from './inference-route';
import { houseCostsOf } from './workflow/attempt';
import type { WorkflowContext } from './workflow/workflow.context';
import { WorkflowRunner } from './workflow/workflow.runner';

/** After which another model may be asked: of the one that was asked nothing can be had now. */
const UNAVAILABLE: ReadonlySet<ErrorCode> = new Set([
  'NO_UPSTREAM_AVAILABLE',
  'UPSTREAM_ERROR',
  'UPSTREAM_TIMEOUT',
  'UPSTREAM_RATE_LIMITED',
]);
/** After which yet another one may be: this one is not offered, not to this key, or not for such a request. */
const UNFIT: ReadonlySet<ErrorCode> = new Set([
  'MODEL_NOT_FOUND',
  'MODEL_NOT_PRICED',
  'MODEL_NOT_ALLOWED',
  'INVALID_REQUEST',
  'UPSTREAM_REJECTED',
]);
/** Another call of the client has the key now: it is that call's to be answered. */
const TAKEN: ReadonlySet<ErrorCode> = new Set(['IDEMPOTENCY_KEY_IN_USE', 'IDEMPOTENCY_ANSWER_NOT_KEPT']);
const MAX_STAND_INS = 10;

/** One run of the workflow, all of it compensated or ended. */
interface Run {
  readonly context: WorkflowContext;
  readonly refusal: Refusal | undefined;
}

/**
 * What every dialect's edge does with a call: one run of the workflow, and how its end is told to the client. Where nothing
 * can be had of the model, the models that stand in for it are asked in turn while the client has been sent nothing: each in
 * a run of its own, with its own id, price and charge, after the hold and the Idempotency-Key of the run before are free.
 */
@Injectable()
export class InferenceRuns {
  constructor(
    private readonly runner: WorkflowRunner,
    private readonly log: ExchangeLog,
    private readonly keyedAnswers: KeyedAnswers,
    private readonly router: Router,
    private readonly settings: Settings,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /** Resolves when the call is answered, charged and written down. */
  async answer(route: InferenceRoute, request: FastifyRequest, reply: FastifyReply, caller: Principal): Promise<void> {
    const leave = outlastsAnswer(request);
    try {
      const exchange = new InferenceExchange(request, reply, this.clock, route);
      const asked = await this.run(exchange.begin(caller));
      const instead = await this.standIn(exchange, caller, asked);
      if (instead) this.log.record(asked.context, asked.refusal, false);
      this.tell(exchange, instead ?? asked);
    } finally {
      leave();
    }
  }

  private async run(context: WorkflowContext): Promise<Run> {
    const refusal = await this.runner.run(context);
    this.endForgotten(context, refusal);
    if (context.has('idempotency')) await this.keyedAnswers.conclude(context);
    return { context, refusal };
  }

  private tell(exchange: InferenceExchange, { context, refusal }: Run): void {
    let told = refusal;
    try {
      exchange.conclude(context, refusal);
    } catch (error) {
      told ??= refuse('INTERNAL_ERROR');
      this.log.failed(context, error);
      exchange.client.destroy();
    }
    this.log.record(context, told);
  }

  /** The run that is told in place of the first one; undefined where none of another model came to an answer. */
  private async standIn(exchange: InferenceExchange, caller: Principal, asked: Run): Promise<Run | undefined> {
    if (!asked.refusal || !UNAVAILABLE.has(asked.refusal.code) || !asked.context.has('validation')) return undefined;
    const { model } = asked.context.validation.request;
    const met = new Set([model]);
    const waiting = [...this.router.fallbacksOf(model)];
    let before = asked;
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      if (met.has(name)) continue;
      if (met.size > MAX_STAND_INS || !(await this.mayRunAgain(exchange, before))) return undefined;
      met.add(name);
      const run = await this.run(exchange.begin(caller, { traceId: newId(), model: name }));
      if (!run.refusal || exchange.client.isOpened || TAKEN.has(run.refusal.code)) return run;
      this.log.record(run.context, run.refusal, false);
      if (!UNAVAILABLE.has(run.refusal.code) && !UNFIT.has(run.refusal.code)) return undefined;
      waiting.push(...this.router.fallbacksOf(name));
      before = run;
    }
    return undefined;
  }

  /** Not for a client that has left, or has waited as long as for one upstream; nor while the last run still holds. */
  private async mayRunAgain({ client, receivedMonotonicMs }: InferenceExchange, { context }: Run): Promise<boolean> {
    const waitedMs = this.clock.monotonicMs() - receivedMonotonicMs;
    if (client.isGone || client.isOpened || waitedMs >= this.settings.upstreamTotalMs) return false;
    if (!context.has('quotaCheck')) return true;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<false>((resolve) => {
      timer = setTimeout(resolve, this.settings.billingWaitMs, false);
    });
    return Promise.race([context.quotaCheck.charge.whenReleased(), late]).finally(() => {
      clearTimeout(timer);
    });
  }

  /** A fault of ours past the point of no return left the charge open: the house bears it, the hold must not stay. */
  private endForgotten(context: WorkflowContext, refusal: Refusal | undefined): void {
    if (!context.has('quotaCheck') || context.quotaCheck.charge.isEnding) return;
    this.log.failed(context, new Error('a charge was left open by its workflow'));
    context.quotaCheck.charge
      .void({
        reasonCode: refusal?.code ?? 'INTERNAL_ERROR',
        endReason: 'failed',
        houseCosts: houseCostsOf(context.attempts),
      })
      .catch((error: unknown) => {
        this.log.failed(context, error);
      });
  }
}
