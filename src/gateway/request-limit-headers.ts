import type { CalendarWindow } from '../kernel/windows';
import type { AdmittedHold } from '../quota/quota-store.port';
import type { CallerLimits } from '../quota/scopes/caller-limits';

type CountedHold = Pick<AdmittedHold, 'usedToday' | 'usedThisMonth' | 'dayWindow' | 'monthWindow'>;
type RequestQuotas = Pick<CallerLimits, 'dailyQuota' | 'monthlyQuota'>;

interface Binding {
  readonly limit: number;
  readonly remaining: number;
  readonly window: CalendarWindow;
}

/**
 * `x-ratelimit-*-requests` as OpenAI's clients read them, of the quota that has fewer requests left: from what the hold
 * counted, so that they cost no look-up. None where the tenant has no quota.
 */
export function requestLimitHeaders(
  hold: CountedHold,
  { dailyQuota, monthlyQuota }: RequestQuotas,
  nowMs: number,
): Readonly<Record<string, string>> {
  const day = bindingOf(dailyQuota, hold.usedToday, hold.dayWindow);
  const month = bindingOf(monthlyQuota, hold.usedThisMonth, hold.monthWindow);
  const binding = day && month ? (day.remaining <= month.remaining ? day : month) : (day ?? month);
  if (!binding) return {};
  return {
    'x-ratelimit-limit-requests': String(binding.limit),
    'x-ratelimit-remaining-requests': String(binding.remaining),
    'x-ratelimit-reset-requests': renderDuration(binding.window.endMs - nowMs),
  };
}

function bindingOf(limit: number | null, used: number, window: CalendarWindow): Binding | undefined {
  return limit === null ? undefined : { limit, remaining: Math.max(0, limit - used), window };
}

/** As OpenAI writes it: `7h0m59s`, `6m0s`, `1s`. */
function renderDuration(durationMs: number): string {
  const seconds = Math.max(0, Math.ceil(durationMs / 1000));
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  const tail = `${seconds % 60}s`;
  if (hours > 0) return `${hours}h${minutes}m${tail}`;
  return minutes > 0 ? `${minutes}m${tail}` : tail;
}
