import { isObject, type JsonObject } from '../../../kernel/json-object';
import { TextPieces } from '../collected-text';
import { isArray } from '../json-value';
import { answerObject, errorAnswer, type WholeAnswer } from '../whole-answer';
import { addBlockText } from './message-text';
import { usageFromAnthropic } from './usage';

/** Undefined when the body is not a JSON object, or has neither content nor a usage: then it is no answer at all. */
export function readMessage(body: Buffer): WholeAnswer | undefined {
  const parsed = answerObject(body);
  if (!parsed) return undefined;
  const errorEvent = errorOf(parsed);
  if (errorEvent !== undefined) return errorAnswer(errorEvent);
  const usage = usageFromAnthropic(parsed.usage);
  if (!usage && !isArray(parsed.content)) return undefined;
  const content = isArray(parsed.content) ? parsed.content : [];
  const finishReason = parsed.stop_reason;
  return {
    isUsageFinal: true,
    ...(usage ? { usage } : {}),
    ...(typeof finishReason === 'string' ? { finishReason } : {}),
    chunks: content.length,
    text: () => {
      const pieces = new TextPieces();
      content.forEach((block, index) => {
        if (isObject(block)) addBlockText(pieces, `${index}`, block);
      });
      return pieces.collected();
    },
  };
}

/** The error in a parsed answer or stream frame. */
export function errorOf(parsed: JsonObject): unknown {
  return parsed.type === 'error' ? (parsed.error ?? parsed) : undefined;
}
