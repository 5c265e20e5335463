import { isObject, type JsonObject } from '../../../kernel/json-object';
import { isAbsent, isArray } from '../json-value';
import { ChatText } from './chat-text';
import { answerObject, errorAnswer, type WholeAnswer } from '../whole-answer';
import { usageFromOpenAi } from './usage';

/** Undefined when the body is not a JSON object, or has neither choices nor a usage: then it is no answer at all. */
export function readChatCompletion(body: Buffer): WholeAnswer | undefined {
  const parsed = answerObject(body);
  if (!parsed) return undefined;
  const errorEvent = errorOf(parsed);
  if (errorEvent !== undefined) return errorAnswer(errorEvent);
  const usage = usageFromOpenAi(parsed.usage);
  if (!usage && !isArray(parsed.choices)) return undefined;
  const choices = isArray(parsed.choices) ? parsed.choices : [];
  const finishReason = isObject(choices[0]) ? choices[0].finish_reason : undefined;
  return {
    isUsageFinal: true,
    ...(usage ? { usage } : {}),
    ...(typeof finishReason === 'string' ? { finishReason } : {}),
    chunks: choices.length,
    text: () => {
      const text = new ChatText();
      text.addChoices(choices, 'message');
      return text.collected();
    },
  };
}

/** The error in a parsed answer or stream frame: an `error` member, or an object that calls itself one. */
export function errorOf(parsed: JsonObject): unknown {
  if (!isAbsent(parsed.error)) return parsed.error;
  return parsed.object === 'error' ? parsed : undefined;
}
