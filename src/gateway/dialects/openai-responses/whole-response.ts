import { isObject, type JsonObject } from '../../../kernel/json-object';
import { isAbsent, isArray } from '../json-value';
import { answerObject, errorAnswer, type WholeAnswer } from '../whole-answer';
import { collectedFrom } from './response-text';
import { usageFromResponses } from './usage';

/** Undefined where the body is not a JSON object, or has neither output nor a usage: then it is no answer at all. */
export function readWholeResponse(body: Buffer): WholeAnswer | undefined {
  const response = answerObject(body);
  if (!response) return undefined;
  const errorEvent = errorOfResponse(response);
  if (errorEvent !== undefined) return errorAnswer(errorEvent);
  const usage = usageFromResponses(response.usage);
  if (!usage && !isArray(response.output)) return undefined;
  const output = isArray(response.output) ? response.output : [];
  return {
    isUsageFinal: true,
    ...(usage ? { usage } : {}),
    finishReason: endOf(response),
    chunks: output.length,
    text: () => collectedFrom(output),
  };
}

/** Why a response ended: `completed`, or what kept it from being so. */
export function endOf(response: JsonObject): string {
  const why = isObject(response.incomplete_details) ? response.incomplete_details.reason : undefined;
  return typeof why === 'string' ? why : 'completed';
}

/** The error of a response that failed; undefined where it did not. */
export function errorOfResponse(response: JsonObject): unknown {
  if (!isAbsent(response.error)) return response.error;
  return response.status === 'failed' || response.object === 'error' ? response : undefined;
}
