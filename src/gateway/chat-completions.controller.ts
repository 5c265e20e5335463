import { Controller, Inject, Post, Req, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiHeader, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../auth/principal';
import { IDEMPOTENCY_HEADER } from '../billing/idempotency/key-claim';
import { CLOCK, type Clock } from '../kernel/clock';
import { type Refusal, refuse } from '../kernel/errors';
import { ChatExchange } from './chat-exchange';
import { ExchangeLog } from './exchange-log';
import { KeyedAnswers } from './idempotency/keyed-answers';
import { Caller } from './http/caller';
import { outlastsAnswer } from './http/in-flight';
import { houseCostsOf } from './workflow/attempt';
import type { WorkflowContext } from './workflow/workflow.context';
import { WorkflowRunner } from './workflow/workflow.runner';

const ROUTE = '/v1/chat/completions';

/** The OpenAI chat dialect's edge: who calls, one run of the workflow, and how its end is told to the client. */
@ApiTags('data plane')
@ApiBearerAuth()
@Controller()
export class ChatCompletionsController {
  constructor(
    private readonly runner: WorkflowRunner,
    private readonly log: ExchangeLog,
    private readonly keyedAnswers: KeyedAnswers,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  @Post(ROUTE)
  @ApiOperation({
    summary: 'Chat completion, streamed or whole',
    description: 'The OpenAI chat completions API. Fields that Tollgate does not know are passed on untouched.',
  })
  @ApiHeader({
    name: IDEMPOTENCY_HEADER,
    required: false,
    schema: { type: 'string', minLength: 1, maxLength: 255, pattern: '^[!-~]+$' },
    description:
      'Makes it safe to send the request again: while it runs a repeat is answered 409 with retry-after; once it is charged ' +
      'the same bytes come again, streams included, with `idempotent-replayed: true` and the first request in ' +
      '`x-tollgate-original-request-id`, and cost nothing. What was not charged frees the key. Unique per API key, kept for ' +
      '24 hours from the first request; the same request is the same route and the same bytes of body.',
  })
  @ApiBody({ schema: { type: 'object', required: ['model', 'messages'], additionalProperties: true } })
  @ApiResponse({ status: 200, description: 'A chat completion, or an event stream that ends with `data: [DONE]`.' })
  @ApiResponse({
    status: 402,
    description: 'The balance or the budget of the key does not cover what the call may cost.',
  })
  @ApiResponse({
    status: 403,
    description: 'The subscription of the key does not count now, or the model is not allowed.',
  })
  @ApiResponse({
    status: 409,
    description:
      'The first request with this Idempotency-Key is still running (IDEMPOTENCY_KEY_IN_USE), or was charged and its answer ' +
      'was too large to keep (IDEMPOTENCY_ANSWER_NOT_KEPT).',
  })
  @ApiResponse({ status: 422, description: 'The Idempotency-Key was used for another request.' })
  @ApiResponse({ status: 429, description: 'A limit is reached; `code` says which, `window_resets_at` until when.' })
  async complete(
    @Caller() caller: Principal,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const leave = outlastsAnswer(request);
    try {
      await this.run(new ChatExchange(request, reply, this.clock), caller);
    } finally {
      leave();
    }
  }

  private async run(exchange: ChatExchange, principal: Principal): Promise<void> {
    const context = exchange.begin(principal, ROUTE);
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
