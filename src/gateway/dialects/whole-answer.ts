import { type TokenCounts } from '../../catalogue/price';
import { isObject, type JsonObject } from '../../kernel/json-object';
import { type CollectedText, NO_TEXT } from './collected-text';
import { memberOf, rebuildMembers, scanTopLevel, spliceMembers } from './top-level-scan';

/** A whole (not streamed) answer, as far as money is concerned. */
export interface WholeAnswer {
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

/** What a body says; undefined where it is not a JSON object: then it is no answer at all. */
export function answerObject(body: Buffer): JsonObject | undefined {
  try {
    const parsed: unknown = JSON.parse(body.toString('utf8'));
    return isObject(parsed) ? parsed : undefined;
  } catch {
    return undefined;
  }
}

/** Of a body that tells of an error, whatever its status. */
export function errorAnswer(errorEvent: unknown): WholeAnswer {
  return { errorEvent, isUsageFinal: true, chunks: 0, text: () => NO_TEXT };
}

/** The answer with its top-level `model` replaced, every other byte as it came. */
export function spliceModel(body: Buffer, model: string): Buffer {
  const layout = scanTopLevel(body);
  if (typeof layout === 'string' || !memberOf(layout, 'model')) return body;
  const values = new Map([['model', JSON.stringify(model)]]);
  return layout.hasDuplicateKeys ? rebuildMembers(body, layout, { values }) : spliceMembers(body, layout, values);
}
