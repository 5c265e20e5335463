import { Inject, Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../auth/principal';
import { CLOCK, type Clock } from '../kernel/clock';
import { type Refusal, refuse } from '../kernel/errors';
import { ExchangeLog } from './exchange-log';
import { outlastsAnswer } from './http/in-flight';
import { KeyedAnswers } from './idempotency/keyed-answers';
import { InferenceExchange } from './inference-exchange';
import type { InferenceRoute } from './inference-route';
import { houseCostsOf } from './workflow/attempt';
import type { WorkflowContext } from './workflow/workflow.context';
import { WorkflowRunner } from './workflow/workflow.runner';

/** What every dialect's edge does with a call: one run of the workflow, and how its end is told to the client. */
@Injectable()
export class InferenceRuns {
  constructor(
    private readonly runner: WorkflowRunner,
    private readonly log: ExchangeLog,
    private readonly keyedAnswers: KeyedAnswers,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /** Resolves when the call is answered, charged and written down. */
  async answer(route: InferenceRoute, request: FastifyRequest, reply: FastifyReply, caller: Principal): Promise<void> {
    const leave = outlastsAnswer(request);
    try {
      await this.run(new InferenceExchange(request, reply, this.clock, route), caller);
    } finally {
      leave();
    }
  }

  private async run(exchange: InferenceExchange, principal: Principal): Promise<void> {
    const context = exchange.begin(principal);
    let refusal: Refusal | undefined = await this.runner.run(context);
    this.endForgotten(context, refusal);
    if (context.has('idempotency')) await this.keyedAnswers.conclude(context);
    try {
      exchange.conclude(context, refusal);
    } catch (error) {
      refusal ??= refuse('INTERNAL_ERROR');
      this.log.failed(context, error);
      exchange.client.destroy();
    }
    this.log.record(context, refusal);
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
