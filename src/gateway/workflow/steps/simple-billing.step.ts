import { Injectable } from '@nestjs/common';
import { costOf } from '../../../catalogue/price';
import { ZERO_NANO_USD } from '../../../kernel/money';
import type { WorkflowContext } from '../workflow.context';
import type { StepOutcome, WorkflowStep } from '../workflow-step';

/** RUN_MODE=simple: what the answer is worth is worked out for the request log and booked nowhere. */
@Injectable()
export class SimpleBillingStep implements WorkflowStep {
  readonly name = 'billing';
  readonly dependsOn = ['answer_keep'];

  execute(context: WorkflowContext): StepOutcome {
    const { tokens, used, isFree } = context.responseTransform;
    context.upstreamCall.attempt.bill('house', used);
    context.isPastNoReturn = true;
    context.billing = {
      charged: undefined,
      uncharged: isFree ? ZERO_NANO_USD : costOf(tokens, context.routing.price),
    };
    return undefined;
  }
}
