import { Injectable } from '@nestjs/common';
import { DIALECTS } from '../../dialects/dialects';
import type { WorkflowContext } from '../workflow.context';
import type { StepOutcome, WorkflowStep } from '../workflow-step';

/** The request's shape. Whether this key may ask for its model is known when routing knows which one is meant. */
@Injectable()
export class ValidationStep implements WorkflowStep {
  readonly name = 'validation';
  readonly dependsOn = [];

  execute(context: WorkflowContext): StepOutcome {
    const { dialect, rawBody } = context.request;
    const request = DIALECTS[dialect].parseRequest(rawBody);
    if ('code' in request) return request;
    context.validation = { request };
    return undefined;
  }
}
