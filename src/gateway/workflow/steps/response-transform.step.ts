import { Injectable } from '@nestjs/common';
import { refuse, type Refusal } from '../../../kernel/errors';
import { Settings } from '../../../platform/config/settings';
import { spliceModel } from '../../dialects/openai-chat/chat-completion';
import { type CountableAnswer, TokenCounter } from '../../stream/count-tokens';
import type { StreamEndReason } from '../../stream/stream-ending';
import type { WorkflowContext } from '../workflow.context';
import type { StepOutcome, WorkflowStep } from '../workflow-step';

/** The answer in the client's dialect, and what it counts (money.md: usage > tokenizer > estimate). */
@Injectable()
export class ResponseTransformStep implements WorkflowStep {
  readonly name = 'response_transform';
  readonly dependsOn = ['upstream_call'];

  constructor(
    private readonly counter: TokenCounter,
    private readonly settings: Settings,
  ) {}

  async execute(context: WorkflowContext): Promise<StepOutcome> {
    const { answer, servedBy } = context.upstreamCall;
    const { chat } = context.validation;
    if (answer.kind === 'body') {
      const counted = await this.count(context, { ...answer.completion, isUsageFinal: true });
      const isAliased = servedBy.target.upstreamModel !== chat.model;
      context.responseTransform = {
        ...counted,
        endReason: context.request.client.isGone ? 'client_left' : 'complete',
        isFree: false,
        body: isAliased ? spliceModel(answer.body, chat.model) : answer.body,
        streamRefusal: undefined,
      };
      return undefined;
    }
    const { ending } = answer;
    const counted = await this.count(context, ending.answer);
    const streamRefusal = refusalOfEnding(ending.reason);
    const isBroken = ending.reason === 'upstream_broke' || ending.reason === 'upstream_error_event';
    context.responseTransform = {
      ...counted,
      endReason: ending.reason,
      isFree: isBroken && this.settings.brokenStreamPolicy === 'void',
      body: undefined,
      streamRefusal,
    };
    return undefined;
  }

  private count(context: WorkflowContext, answer: CountableAnswer): ReturnType<TokenCounter['count']> {
    const { chat } = context.validation;
    return this.counter.count(answer, chat, chat.images * context.routing.profile.tokensPerImage);
  }
}

/** What the client of a stream is told when it did not end well. */
function refusalOfEnding(reason: StreamEndReason): Refusal | undefined {
  switch (reason) {
    case 'complete':
    case 'client_left':
    case 'client_left_drained':
      return undefined;
    case 'cut_by_shutdown':
      return refuse('SHUTTING_DOWN');
    case 'refused':
      return refuse('BILLING_SERVICE_ERROR');
    case 'upstream_broke':
    case 'upstream_error_event':
      return refuse('UPSTREAM_ERROR');
  }
}
