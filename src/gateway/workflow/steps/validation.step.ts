import { Injectable } from '@nestjs/common';
import { refuse } from '../../../kernel/errors';
import { parseChatRequest } from '../../dialects/openai-chat/chat-request';
import type { WorkflowContext } from '../workflow.context';
import type { StepOutcome, WorkflowStep } from '../workflow-step';

/** The request's shape, and whether this key may ask for its model. */
@Injectable()
export class ValidationStep implements WorkflowStep {
  readonly name = 'validation';
  readonly dependsOn = [];

  execute(context: WorkflowContext): StepOutcome {
    const { rawBody, principal } = context.request;
    const chat = parseChatRequest(rawBody);
    if ('code' in chat) return chat;
    context.validation = { chat };
    if (principal.allowedModels && !principal.allowedModels.has(chat.model)) {
      return refuse('MODEL_NOT_ALLOWED', { param: 'model', values: { model: chat.model } });
    }
    return undefined;
  }
}
