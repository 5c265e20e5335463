import { Injectable } from '@nestjs/common';
import { Settings } from '../../../platform/config/settings';
import { KeyedAnswers } from '../../idempotency/keyed-answers';
import type { WorkflowContext } from '../workflow.context';
import type { StepOutcome, WorkflowStep } from '../workflow-step';

/**
 * A call that names an Idempotency-Key has it for itself from here on, or is answered with what is kept. Before anything is
 * looked up or held. Where calls are not charged (RUN_MODE=simple) there is nothing to protect, and keys are ignored.
 */
@Injectable()
export class IdempotencyStep implements WorkflowStep {
  readonly name = 'idempotency';
  readonly dependsOn = ['validation'];
  private readonly isCharged: boolean;

  constructor(
    private readonly answers: KeyedAnswers,
    settings: Settings,
  ) {
    this.isCharged = settings.runMode !== 'simple';
  }

  execute(context: WorkflowContext): StepOutcome | Promise<StepOutcome> {
    const { idempotencyKey } = context.request;
    return idempotencyKey === undefined || !this.isCharged ? undefined : this.answers.claim(context, idempotencyKey);
  }
}
