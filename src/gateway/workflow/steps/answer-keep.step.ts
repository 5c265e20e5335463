import { Injectable } from '@nestjs/common';
import { KeyedAnswers } from '../../idempotency/keyed-answers';
import type { WorkflowContext } from '../workflow.context';
import type { StepOutcome, WorkflowStep } from '../workflow-step';

/** Before the settle: a charge that stands has its answer, whatever the process dies of in between. */
@Injectable()
export class AnswerKeepStep implements WorkflowStep {
  readonly name = 'answer_keep';
  readonly dependsOn = ['response_transform'];

  constructor(private readonly answers: KeyedAnswers) {}

  execute(context: WorkflowContext): StepOutcome | Promise<StepOutcome> {
    return context.has('idempotency') ? this.answers.keep(context) : undefined;
  }
}
