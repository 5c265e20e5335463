import { Inject, Injectable, Logger } from '@nestjs/common';
import { refuse, type Refusal } from '../../kernel/errors';
import { orderSteps } from './step-order';
import type { WorkflowContext } from './workflow.context';
import { ANSWERED, type StepOutcome, type WorkflowStep } from './workflow-step';

/** DI token of the list in workflow.steps.ts. */
export const WORKFLOW_STEPS = Symbol('WorkflowSteps');

interface PlannedStep {
  readonly step: WorkflowStep;
  readonly dependents: readonly number[];
  readonly dependencyCount: number;
}

/**
 * Runs the steps of a request in the order of their dependencies; a step starts when all it depends on are done, so
 * independent steps run side by side. On a refusal nothing new starts, what runs is awaited, and completed steps are
 * compensated in reverse — unless the point of no return was passed: from then on failures are only retried forward.
 * A step that has answered the call ends it likewise, with nothing to compensate.
 */
@Injectable()
export class WorkflowRunner {
  private readonly logger = new Logger(WorkflowRunner.name);
  private readonly plan: readonly PlannedStep[];
  private readonly first: readonly number[];

  /** Throws WorkflowDefinitionError where the list cannot run. */
  constructor(@Inject(WORKFLOW_STEPS) steps: readonly WorkflowStep[]) {
    const ordered = orderSteps(steps);
    this.plan = ordered.map((step) => ({
      step,
      dependencyCount: new Set(step.dependsOn).size,
      dependents: ordered.flatMap((other, index) => (other.dependsOn.includes(step.name) ? [index] : [])),
    }));
    this.first = this.plan.flatMap(({ dependencyCount }, index) => (dependencyCount === 0 ? [index] : []));
  }

  /** Step names in the order in which they start. */
  get order(): readonly string[] {
    return this.plan.map(({ step }) => step.name);
  }

  /** Undefined when every step is done, or one has answered; else the first refusal, after compensation. Never rejects. */
  run(context: WorkflowContext): Promise<Refusal | undefined> {
    return new Promise((resolve) => {
      new WorkflowRun(this.plan, context, this.logger, resolve).start(this.first);
    });
  }
}

class WorkflowRun {
  private readonly waitingFor: number[];
  private readonly completed: WorkflowStep[] = [];
  private running = 0;
  private refusal: Refusal | undefined;
  private isAnswered = false;
  private isFinishing = false;

  constructor(
    private readonly plan: readonly PlannedStep[],
    private readonly context: WorkflowContext,
    private readonly logger: Logger,
    private readonly resolve: (refusal: Refusal | undefined) => void,
  ) {
    this.waitingFor = plan.map(({ dependencyCount }) => dependencyCount);
  }

  start(indexes: readonly number[]): void {
    this.running += 1;
    for (const index of indexes) this.begin(index);
    this.leave();
  }

  private begin(index: number): void {
    const planned = this.plan[index];
    if (!planned || this.refusal || this.isAnswered) return;
    this.running += 1;
    let outcome: StepOutcome | Promise<StepOutcome>;
    try {
      outcome = planned.step.execute(this.context);
    } catch (error) {
      this.failed(planned.step, error);
      return;
    }
    if (outcome instanceof Promise) {
      outcome.then(
        (settled) => {
          this.done(planned, settled);
        },
        (error: unknown) => {
          this.failed(planned.step, error);
        },
      );
    } else {
      this.done(planned, outcome);
    }
  }

  private done(planned: PlannedStep, outcome: StepOutcome): void {
    if (outcome === ANSWERED) {
      this.isAnswered = true;
    } else if (outcome) {
      this.refusal ??= outcome;
    } else {
      this.completed.push(planned.step);
      for (const dependent of planned.dependents) {
        const left = (this.waitingFor[dependent] ?? 0) - 1;
        this.waitingFor[dependent] = left;
        if (left === 0) this.begin(dependent);
      }
    }
    this.leave();
  }

  private failed(step: WorkflowStep, error: unknown): void {
    this.logger.error({ msg: `workflow step ${step.name} failed`, traceId: this.context.request.traceId, err: error });
    this.refusal ??= refuse('INTERNAL_ERROR');
    this.leave();
  }

  private leave(): void {
    this.running -= 1;
    if (this.running > 0 || this.isFinishing) return;
    this.isFinishing = true;
    const { refusal } = this;
    if (!refusal || this.context.isPastNoReturn) this.resolve(refusal);
    else
      void this.compensate(refusal).finally(() => {
        this.resolve(refusal);
      });
  }

  private async compensate(cause: Refusal): Promise<void> {
    for (const step of this.completed.toReversed()) {
      try {
        await step.compensate?.(this.context, cause);
      } catch (error) {
        const { traceId } = this.context.request;
        this.logger.error({ msg: `compensation of workflow step ${step.name} failed`, traceId, err: error });
      }
    }
  }
}
