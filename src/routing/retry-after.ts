type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** A day: whoever asks for more means "not now", and nobody's clock is trusted further. */
const MAX_RETRY_AFTER_MS = 86_400_000;

/** What providers tell of their limits a minute: what is left, and when it is whole again. */
const LIMITS: readonly (readonly [remaining: string, reset: string])[] = [
  ['x-ratelimit-remaining-requests', 'x-ratelimit-reset-requests'],
  ['x-ratelimit-remaining-tokens', 'x-ratelimit-reset-tokens'],
  ['anthropic-ratelimit-requests-remaining', 'anthropic-ratelimit-requests-reset'],
  ['anthropic-ratelimit-tokens-remaining', 'anthropic-ratelimit-tokens-reset'],
  ['anthropic-ratelimit-input-tokens-remaining', 'anthropic-ratelimit-input-tokens-reset'],
  ['anthropic-ratelimit-output-tokens-remaining', 'anthropic-ratelimit-output-tokens-reset'],
];
/** Go's durations, as OpenAI writes them: `1s`, `6m0s`, `20ms`, `1h0m3.5s`. */
const DURATION = /^(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,6}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?$/;

/**
 * How long an upstream asks to be left alone: `retry-after-ms` (OpenAI), or `Retry-After` in seconds or as an HTTP date
 * (RFC 9110, 10.2.3); where it names neither, until the last of those limits is whole again of which it says that nothing
 * is left. Undefined where it does not say, or says nonsense.
 */
export function retryAfterMsOf(headers: Headers, nowMs: number): number | undefined {
  return askedMs(headers, nowMs) ?? usedUpForMs(headers, nowMs);
}

function usedUpForMs(headers: Headers, nowMs: number): number | undefined {
  let longestMs: number | undefined;
  for (const [remaining, reset] of LIMITS) {
    if (numberIn(headers[remaining]) !== 0) continue;
    const resetMs = resetMsOf(headers[reset], nowMs);
    if (resetMs !== undefined) longestMs = Math.max(longestMs ?? 0, resetMs);
  }
  return longestMs === undefined ? undefined : Math.min(MAX_RETRY_AFTER_MS, Math.ceil(longestMs));
}

/** A duration, or an instant (RFC 3339). */
function resetMsOf(value: string | string[] | undefined, nowMs: number): number | undefined {
  if (typeof value !== 'string' || value.length > 64 || value.trim() === '') return undefined;
  const text = value.trim();
  const duration = DURATION.exec(text);
  if (duration) {
    const [, hours = 0, minutes = 0, seconds = 0, milliseconds = 0] = Array.from(duration, (part: unknown) =>
      Number(part ?? 0),
    );
    return ((hours * 60 + minutes) * 60 + seconds) * 1_000 + milliseconds;
  }
  const atMs = /^\d{4}-/.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(atMs) ? undefined : Math.max(0, atMs - nowMs);
}

function askedMs(headers: Headers, nowMs: number): number | undefined {
  const milliseconds = numberIn(headers['retry-after-ms']);
  if (milliseconds !== undefined) return Math.min(MAX_RETRY_AFTER_MS, Math.ceil(milliseconds));
  const seconds = numberIn(headers['retry-after']);
  if (seconds !== undefined) return Math.min(MAX_RETRY_AFTER_MS, Math.ceil(seconds * 1_000));
  const text = headers['retry-after'];
  const dateMs = typeof text === 'string' ? Date.parse(text) : NaN;
  return Number.isNaN(dateMs) ? undefined : Math.min(MAX_RETRY_AFTER_MS, Math.max(0, dateMs - nowMs));
}

function numberIn(value: string | string[] | undefined): number | undefined {
  return typeof value === 'string' && /^\d{1,12}(\.\d{1,9})?$/.test(value.trim()) ? Number(value) : undefined;
}
