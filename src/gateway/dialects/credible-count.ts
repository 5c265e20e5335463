/** More than any call can use: a larger count is garbage, not a bill. */
const MAX_CREDIBLE_TOKENS = 1_000_000_000;

/** A provider's count of tokens; undefined for everything that cannot be one, null and absent included. */
export function credibleCount(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= MAX_CREDIBLE_TOKENS
    ? value
    : undefined;
}
