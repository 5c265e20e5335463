import { isObject } from '../../kernel/json-object';
import { translationOf } from '../dialects/dialects';
import { spliceModel } from '../dialects/whole-answer';
import { answerLookOf } from './answer-look';
import type { WorkflowContext } from './workflow.context';

/** A whole answer as the client gets it: the provider's bytes under the client's name of the model, or translated. */
export function shownBodyOf(context: WorkflowContext, body: Buffer): Buffer {
  const { servedBy, wire } = context.upstreamCall;
  const { request } = context.validation;
  if (wire === request.dialect) {
    return servedBy.target.upstreamModel === request.model ? body : spliceModel(body, request.model);
  }
  const parsed: unknown = JSON.parse(body.toString('utf8'));
  if (!isObject(parsed)) throw new Error('an answer that was understood is no object');
  const events = translationOf(wire).parseAnswer(parsed);
  const answer = translationOf(request.dialect).renderAnswer(events, answerLookOf(context));
  return Buffer.from(JSON.stringify(answer));
}
