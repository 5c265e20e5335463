import { Injectable } from '@nestjs/common';
import { withinBudget } from '../../../catalogue/hold-coverage';
import { refuse, type Refusal } from '../../../kernel/errors';
import { Settings } from '../../../platform/config/settings';
import { type CountedTokens, TokenCounter } from '../../stream/count-tokens';
import type { StreamEndReason } from '../../stream/stream-ending';
import { shownBodyOf } from '../shown-body';
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

  execute(context: WorkflowContext): StepOutcome | Promise<StepOutcome> {
    const { answer } = context.upstreamCall;
    const { request } = context.validation;
    const countable = answer.kind === 'body' ? { ...answer.completion, isUsageFinal: true } : answer.ending.answer;
    const counted = this.counter.count(countable, request, request.images * context.routing.profile.tokensPerImage);
    if (!(counted instanceof Promise)) return this.transform(context, counted);
    return counted.then((late) => this.transform(context, late));
  }

  private transform(context: WorkflowContext, counted: CountedTokens): StepOutcome {
    const { answer } = context.upstreamCall;
    if (answer.kind === 'body') {
      context.responseTransform = {
        ...counted,
        used: counted.tokens,
        endReason: context.request.client.isGone ? 'client_left' : 'complete',
        isFree: false,
        body: shownBodyOf(context, answer.body),
        streamRefusal: undefined,
      };
      return undefined;
    }
    const { reason, guardCut } = answer.ending;
    const isBroken = reason === 'upstream_broke' || reason === 'upstream_error_event';
    context.responseTransform = {
      method: counted.method,
      // A little more than the hold may have passed before the exact count was known: that is not charged.
      tokens: guardCut ? withinBudget(counted.tokens, context.routing.price, guardCut.budget) : counted.tokens,
      used: counted.tokens,
      endReason: reason,
      reasonCode: guardCut?.limit.toUpperCase(),
      isFree: isBroken && this.settings.brokenStreamPolicy === 'void',
      body: undefined,
      streamRefusal: refusalOfEnding(reason),
    };
    return undefined;
  }
}

/** What the client of a stream is told when it did not end well. */
function refusalOfEnding(reason: StreamEndReason): Refusal | undefined {
  switch (reason) {
    case 'complete':
    case 'client_left':
    case 'client_left_drained':
    case 'guard_cut':
    case 'guard_overdraft_cut':
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
