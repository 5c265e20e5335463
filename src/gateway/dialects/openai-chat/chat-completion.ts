import { type TokenCounts } from '../../../catalogue/price';
import { type CollectedText, NO_TEXT } from '../collected-text';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import { isAbsent } from '../json-value';
import { ChatText } from './chat-text';
import { memberOf, rebuildMembers, scanTopLevel, spliceMembers } from './top-level-scan';
import { usageFromOpenAi } from './usage';

/** A whole (not streamed) answer, as far as money is concerned. */
export interface ChatCompletion {
  /** Undefined where the provider reported none that is credible. */
  readonly usage?: TokenCounts;
  readonly isUsageFinal: true;
  text(): CollectedText;
  /** Choices, each at least one token if nothing better is known. */
  readonly chunks: number;
  /** Of the first choice. */
  readonly finishReason?: string;
  /** The `error` of a body that came with a success status. Its text is never billed. */
  readonly errorEvent?: unknown;
}

/** Undefined when the body is not a JSON object: then it is no answer at all. */
export function readChatCompletion(body: Buffer): ChatCompletion | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
  if (!isObject(parsed)) return undefined;
  const errorEvent = errorOf(parsed);
  if (errorEvent !== undefined) return { errorEvent, isUsageFinal: true, chunks: 0, text: () => NO_TEXT };
  const usage = usageFromOpenAi(parsed.usage);
  const choices: unknown[] = Array.isArray(parsed.choices) ? parsed.choices : [];
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

/** The answer with its top-level `model` replaced, every other byte as it came. */
export function spliceModel(body: Buffer, model: string): Buffer {
  const layout = scanTopLevel(body);
  if (typeof layout === 'string' || !memberOf(layout, 'model')) return body;
  const values = new Map([['model', JSON.stringify(model)]]);
  return layout.hasDuplicateKeys ? rebuildMembers(body, layout, { values }) : spliceMembers(body, layout, values);
}

/** The error in a parsed answer or stream frame: an `error` member, or an object that calls itself one. */
export function errorOf(parsed: JsonObject): unknown {
  if (!isAbsent(parsed.error)) return parsed.error;
  return parsed.object === 'error' ? parsed : undefined;
}
