import { Injectable } from '@nestjs/common';
import type { StepOutcome, WorkflowStep } from '../workflow-step';

/** RUN_MODE=simple: every call passes. It asks no store and leaves no section, so nothing is held. */
@Injectable()
export class SimpleQuotaCheckStep implements WorkflowStep {
  readonly name = 'quota_check';
  readonly dependsOn = ['routing', 'template_render', 'affinity'];

  execute(): StepOutcome {
    return undefined;
  }
}
