type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** A day: whoever asks for more means "not now", and nobody's clock is trusted further. */
const MAX_RETRY_AFTER_MS = 86_400_000;

/**
 * How long an upstream asks to be left alone: `retry-after-ms` (OpenAI), or `Retry-After` in seconds or as an HTTP date
 * (RFC 9110, 10.2.3). Undefined where it does not say, or says nonsense.
 */
export function retryAfterMsOf(headers: Headers, nowMs: number): number | undefined {
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
