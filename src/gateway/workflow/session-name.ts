import type { WorkflowContext } from './workflow.context';

/**
 * Which conversation a call belongs to: `x-session-id`, else `session_id` of the body, else what its dialect has for it.
 * Undefined for a call that names none.
 */
export function sessionNameOf({ request, validation }: WorkflowContext): string | undefined {
  const { body, sessionId } = validation.request;
  const named = request.sessionId ?? body.session_id;
  return typeof named === 'string' && named !== '' ? named : sessionId;
}
