import type { Refusal } from '../../kernel/errors';
import type { WorkflowContext } from './workflow.context';

/** The call is answered already, by `context.replay`. */
export const ANSWERED = Symbol('Answered');

/**
 * Nothing: go on. A refusal: stop, compensate what was done, answer with it. ANSWERED: stop, and it is well; only for a step
 * before which nothing is held, because nothing is compensated.
 */
export type StepOutcome = Refusal | typeof ANSWERED | undefined;

/**
 * One injectable step of a request. It reads the sections of the steps it depends on and writes its own, once.
 * `execute` may answer at once or later; throwing means a fault of ours, an expected refusal is returned.
 */
export interface WorkflowStep {
  readonly name: string;
  readonly dependsOn: readonly string[];
  execute(context: WorkflowContext): StepOutcome | Promise<StepOutcome>;
  /**
   * Undoes what execute holds, after a later step failed and before the point of no return. Called in reverse order,
   * only for steps that completed; must not throw for what is gone already.
   */
  compensate?(context: WorkflowContext, cause: Refusal): void | Promise<void>;
}
