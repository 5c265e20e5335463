import { type Refusal } from '../../../kernel/errors';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import { unknownFieldIn } from '../field-checks';
import { invalid, isRefusal } from '../invalid-request';
import { isAbsent, isArray } from '../json-value';

/** A field of the client's that the dialect of the provider has no words for. */
export function untranslatable(param: string): Refusal {
  return invalid(param, 'cannot be translated: the provider of this model speaks another API');
}

/** Refuses the first field that is not among the known ones. */
export function unknownField(object: JsonObject, known: ReadonlySet<string>, path: string): Refusal | undefined {
  const odd = unknownFieldIn(object, path, known);
  return odd === undefined ? undefined : untranslatable(odd);
}

/** Reads each element of a list; the first refusal is the answer. */
export function readEach<T extends object>(
  values: unknown,
  path: string,
  read: (value: JsonObject, path: string) => T | readonly T[] | Refusal,
): readonly T[] | Refusal {
  if (isAbsent(values)) return [];
  if (!isArray(values)) return invalid(path, 'must be an array');
  const all: T[] = [];
  for (const [index, value] of values.entries()) {
    const place = `${path}[${index}]`;
    if (!isObject(value)) return invalid(place, 'must be an object');
    const part = read(value, place);
    if (isRefusal(part)) return part;
    if (isList(part)) all.push(...part);
    else all.push(part);
  }
  return all;
}

/** A member that must be a string with something in it. */
export function requiredText(object: JsonObject, key: string, path: string): string | Refusal {
  const value = object[key];
  return typeof value === 'string' && value !== '' ? value : invalid(`${path}.${key}`, 'must be a non-empty string');
}

/** A member that may be left out: as `{[as]: value}`, or nothing. */
export function optionalText<K extends string>(
  object: JsonObject,
  key: string,
  as: K,
): Partial<Readonly<Record<K, string>>> {
  const value = object[key];
  return (typeof value === 'string' ? { [as]: value } : {}) as Partial<Readonly<Record<K, string>>>;
}

/** As Anthropic says it, which clients also send in chat; OpenAI's own mark means the same. */
export function cacheControlOf({ cache_control, prompt_cache_breakpoint }: JsonObject): {
  readonly cacheControl?: JsonObject;
} {
  if (isObject(cache_control)) return { cacheControl: cache_control };
  return isObject(prompt_cache_breakpoint) ? { cacheControl: { type: 'ephemeral' } } : {};
}

function isList<T extends object>(value: T | readonly T[]): value is readonly T[] {
  return isArray(value);
}
