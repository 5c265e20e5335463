import { isObject, type JsonObject } from '../../../kernel/json-object';

/** Under which arguments stand that are no JSON object: Anthropic takes nothing else. */
const ODD_FIELD = 'arguments';

/** The `input` of a tool call from the arguments that a model wrote. */
export function toolInputOf(text: string): JsonObject {
  if (text.trim() === '') return {};
  try {
    const value: unknown = JSON.parse(text);
    if (isObject(value)) return value;
  } catch {
    // Shown as it is: whoever reads it sees what the model wrote.
  }
  return { [ODD_FIELD]: text };
}

/** The input of a custom tool in pieces of JSON: what opens it, what each piece of its text adds, what ends it. */
export const TEXT_INPUT_OPENING = '{"input":"';
export const TEXT_INPUT_END = '"}';

export function textInputPiece(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}
