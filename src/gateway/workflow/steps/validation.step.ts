import { Injectable } from '@nestjs/common';
import { refuse } from '../../../kernel/errors';
import { DIALECTS } from '../../dialects/dialects';
import type { WorkflowContext } from '../workflow.context';
import type { StepOutcome, WorkflowStep } from '../workflow-step';

/** The request's shape, and whether this key may ask for its model. */
@Injectable()
export class ValidationStep implements WorkflowStep {
  readonly name = 'validation';
  readonly dependsOn = [];

  execute(context: WorkflowContext): StepOutcome {
    const { dialect, rawBody, principal } = context.request;
    const request = DIALECTS[dialect].parseRequest(rawBody);
    if ('code' in request) return request;
    context.validation = { request };
    if (principal.allowedModels && !principal.allowedModels.has(request.model)) {
      return refuse('MODEL_NOT_ALLOWED', { param: 'model', values: { model: request.model } });
    }
    return undefined;
  }
}
