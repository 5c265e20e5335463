import { Injectable } from '@nestjs/common';
import { Metrics } from '../../../platform/metrics/metrics';
import type { WorkflowContext } from '../workflow.context';
import type { StepOutcome, WorkflowStep } from '../workflow-step';

/** What is counted once the charge is committed. Only memory is touched: the answer waits for nothing here. */
@Injectable()
export class UsageRecordStep implements WorkflowStep {
  readonly name = 'usage_record';
  readonly dependsOn = ['billing'];

  constructor(private readonly metrics: Metrics) {}

  execute(context: WorkflowContext): StepOutcome {
    const { method } = context.responseTransform;
    const { ttftMs, answer } = context.upstreamCall;
    if (answer.kind === 'stream') this.metrics.streamTokenCalculation.of(method).inc();
    if (ttftMs !== undefined) this.metrics.ttftSeconds.observe(ttftMs / 1000);
    context.usageRecord = { recorded: true };
    return undefined;
  }
}
