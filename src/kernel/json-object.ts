export type JsonObject = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A non-negative integer as JSON carries nano-USD: as text, because a number there may be rounded. */
export function isIntegerText(value: unknown): value is string {
  return typeof value === 'string' && /^\d{1,19}$/.test(value);
}
