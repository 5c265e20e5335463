import type { AnswerLook } from '../dialects/dialect';
import type { WorkflowContext } from './workflow.context';

/** How the answer of this call is to look where it is translated. */
export function answerLookOf({ request, validation }: WorkflowContext): AnswerLook {
  const asked = validation.request;
  return {
    model: asked.model,
    showUsage: asked.includeUsage || !asked.stream,
    request: asked,
    answerId: request.traceId.replaceAll('-', ''),
    nowMs: request.receivedAtMs,
  };
}
