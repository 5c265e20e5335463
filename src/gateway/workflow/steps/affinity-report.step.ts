import { Injectable } from '@nestjs/common';
import { Affinity } from '../../../routing/affinity/affinity';
import { reportAffinity } from '../affinity-end';
import type { WorkflowContext } from '../workflow.context';
import type { StepOutcome, WorkflowStep } from '../workflow-step';

/** Tells the session of a call who answered it in the end. Nobody waits for it: it is a hint to the calls that follow. */
@Injectable()
export class AffinityReportStep implements WorkflowStep {
  readonly name = 'affinity_report';
  readonly dependsOn = ['upstream_call'];

  constructor(private readonly affinity: Affinity) {}

  execute(context: WorkflowContext): StepOutcome {
    reportAffinity(this.affinity, context);
    return undefined;
  }
}
