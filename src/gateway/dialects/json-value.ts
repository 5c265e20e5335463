import { isObject, type JsonObject } from '../../kernel/json-object';

/** Unlike Array.isArray, leaves the elements unknown rather than any. */
export function isArray(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

/** OpenAI's optional fields may be sent as null, which means "not sent". */
export function isAbsent(value: unknown): value is null | undefined {
  return value === undefined || value === null;
}

/** Of a member that should be text; anything else says nothing. */
export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/**
 * An object from its text, undefined where it is none. One whose last brackets are missing is taken for what it says: a
 * provider that forgets them has still told its usage. It must end with a bracket all the same; a number that was cut
 * short would be another number.
 */
export function parseObject(text: string): JsonObject | undefined {
  return parsed(text) ?? (/[\]}]\s*$/.test(text) ? parsed(text + missingBrackets(text)) : undefined);
}

function parsed(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function missingBrackets(text: string): string {
  const open: string[] = [];
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{}]/g)) {
    if (token === '{') open.push('}');
    else if (token === '[') open.push(']');
    else if (token === '}' || token === ']') open.pop();
  }
  return open.reverse().join('');
}
