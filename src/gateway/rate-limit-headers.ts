import type { Refusal } from '../kernel/errors';
import type { CountedScope, ScopeSpec } from '../quota/scopes/scope';

/** One limit of requests or tokens as its caller is told of it. */
export interface RateLimit {
  readonly limit: bigint;
  readonly remaining: bigint;
  /** When everything counted now has left it, milliseconds since the Unix epoch; undefined where time alone does not help. */
  readonly resetsAtMs: number | undefined;
}

/** Of several limits of the same measure the one that binds: the fewest remaining, of as many the one that lasts longer. */
export interface RateLimits {
  readonly requests?: RateLimit;
  readonly tokens?: RateLimit;
}

const ROLLING_MS = 60_000;
/** Limits of requests that are no rate: what is beyond an allowance is paid for, and open calls have no window. */
const NO_RATES: ReadonlySet<string> = new Set(['allowance', 'tenant_concurrency']);

/** From what a hold counted and the limits it was admitted under, so that they cost no look-up. */
export function rateLimitsOf(counted: readonly CountedScope[], limits: readonly ScopeSpec[]): RateLimits {
  let binding: RateLimits = {};
  for (const scope of counted) {
    const { counter, measure, used } = scope;
    if (measure === 'usd') continue;
    const spec = limits.find((one) => one.counter === counter);
    if (!spec || NO_RATES.has(spec.scope)) continue;
    const found = { limit: spec.limit, remaining: remainingOf(spec.limit, used), resetsAtMs: resetsAtMsOf(scope) };
    binding = { ...binding, [measure]: tighter(binding[measure], found) };
  }
  return binding;
}

/** Of a refused call only the limit that refused it is known. */
export function rateLimitsOfRefusal({ quota, windowResetsAt }: Refusal): RateLimits {
  if (!quota || quota.measure === 'usd' || NO_RATES.has(quota.scope)) return {};
  const { limit, used } = quota;
  return { [quota.measure]: { limit, remaining: remainingOf(limit, used), resetsAtMs: windowResetsAt?.getTime() } };
}

/** `x-ratelimit-*` as OpenAI's clients read them: the reset is how long it takes. */
export function openAiRateLimitHeaders(limits: RateLimits, nowMs: number): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {};
  for (const [measure, { limit, remaining, resetsAtMs }] of entriesOf(limits)) {
    headers[`x-ratelimit-limit-${measure}`] = limit.toString();
    headers[`x-ratelimit-remaining-${measure}`] = remaining.toString();
    if (resetsAtMs !== undefined) headers[`x-ratelimit-reset-${measure}`] = renderDuration(resetsAtMs - nowMs);
  }
  return headers;
}

/** `anthropic-ratelimit-*` as Anthropic's clients read them: the reset is an instant (RFC 3339). */
export function anthropicRateLimitHeaders(limits: RateLimits): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {};
  for (const [measure, { limit, remaining, resetsAtMs }] of entriesOf(limits)) {
    headers[`anthropic-ratelimit-${measure}-limit`] = limit.toString();
    headers[`anthropic-ratelimit-${measure}-remaining`] = remaining.toString();
    if (resetsAtMs !== undefined) headers[`anthropic-ratelimit-${measure}-reset`] = renderInstant(resetsAtMs);
  }
  return headers;
}

function entriesOf({ requests, tokens }: RateLimits): readonly (readonly [string, RateLimit])[] {
  return [...(requests ? [['requests', requests] as const] : []), ...(tokens ? [['tokens', tokens] as const] : [])];
}

function tighter(known: RateLimit | undefined, found: RateLimit): RateLimit {
  if (!known || found.remaining < known.remaining) return found;
  const lastsLonger = (found.resetsAtMs ?? 0) > (known.resetsAtMs ?? 0);
  return found.remaining === known.remaining && lastsLonger ? found : known;
}

/** A limit that was lowered below its use has nothing left, not less. */
export function remainingOf(limit: bigint, used: bigint): bigint {
  return used >= limit ? 0n : limit - used;
}

/** When everything counted now has left its window; undefined for one that does not end. */
export function resetsAtMsOf({ isRolling, startMs, endMs }: CountedScope): number | undefined {
  if (isRolling) return startMs + ROLLING_MS;
  return endMs === 0 ? undefined : endMs;
}

/** As OpenAI writes it: `7h0m59s`, `6m0s`, `1s`. */
function renderDuration(durationMs: number): string {
  const seconds = Math.max(0, Math.ceil(durationMs / 1000));
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  const tail = `${seconds % 60}s`;
  if (hours > 0) return `${hours}h${minutes}m${tail}`;
  return minutes > 0 ? `${minutes}m${tail}` : tail;
}

/** Whole seconds, rounded up: who waits until then has waited long enough. */
function renderInstant(ms: number): string {
  return new Date(Math.ceil(ms / 1000) * 1000).toISOString().replace('.000Z', 'Z');
}
