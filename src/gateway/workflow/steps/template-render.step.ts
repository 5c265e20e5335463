import { Injectable } from '@nestjs/common';
import { renderUpstreamBody } from '../../dialects/openai-chat/chat-request';
import type { WorkflowContext } from '../workflow.context';
import type { StepOutcome, WorkflowStep } from '../workflow-step';

/** The request in the provider's dialect: rendered once a candidate, when it is that candidate's turn. */
@Injectable()
export class TemplateRenderStep implements WorkflowStep {
  readonly name = 'template_render';
  readonly dependsOn = ['routing'];

  execute(context: WorkflowContext): StepOutcome {
    const { chat } = context.validation;
    context.templateRender = { bodyFor: (candidate) => renderUpstreamBody(chat, candidate.target.upstreamModel) };
    return undefined;
  }
}
