export type JsonObject = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Unlike Array.isArray, leaves the elements unknown rather than any. */
export function isArray(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

/** OpenAI's optional fields may be sent as null, which means "not sent". */
export function isAbsent(value: unknown): value is null | undefined {
  return value === undefined || value === null;
}
