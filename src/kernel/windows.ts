/**
 * Calendar windows as pure functions of (instant, IANA zone). A window is [startMs, endMs): the day, ISO week (from
 * Monday) or month, in the zone, that contains the instant. Scripts and SQL know no zones: callers send them these bounds.
 */
export interface CalendarWindow {
  readonly startMs: number;
  readonly endMs: number;
}

export type CalendarUnit = 'day' | 'week' | 'month';

interface LocalDate {
  readonly year: number;
  /** 1–12; may run over (13 is next January), as may the day, both ways: Date.UTC normalises. */
  readonly month: number;
  readonly day: number;
}

const HOUR_MS = 3_600_000;

const formatters = new Map<string, Intl.DateTimeFormat>();

function formatterOf(zone: string): Intl.DateTimeFormat {
  let formatter = formatters.get(zone);
  if (!formatter) {
    formatter = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      hourCycle: 'h23',
      era: 'short',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
    formatters.set(zone, formatter);
  }
  return formatter;
}

/** Whether the runtime knows this IANA zone name. */
export function isTimeZone(zone: string): boolean {
  try {
    formatterOf(zone);
    return true;
  } catch {
    return false;
  }
}

/** Wall-clock time in the zone at this instant, expressed as if it were UTC milliseconds (whole seconds). */
function wallClockMs(instantMs: number, zone: string): number {
  const part: Record<string, number> = {};
  for (const { type, value } of formatterOf(zone).formatToParts(instantMs)) part[type] = Number(value);
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = part;
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

/**
 * First instant at which the zone's calendar shows this date: local midnight, or the end of the gap where a
 * daylight-saving change skips midnight. Where midnight happens twice, the first.
 */
function startOfLocalDate(date: LocalDate, zone: string): number {
  const target = Date.UTC(date.year, date.month - 1, date.day);
  const reaches = (instantMs: number): boolean => wallClockMs(instantMs, zone) >= target;
  // Where the offset stays the same, it says when midnight is. The earliest of these that has reached the date is the
  // answer, or lies after it in the same gap; a later one may be the second midnight of a clock that was set back.
  const candidates = [-24, 0, 24]
    .map((hours) => target + hours * HOUR_MS)
    .map((probeMs) => target - (wallClockMs(probeMs, zone) - probeMs))
    .sort((a, b) => a - b);
  const [earliest = target] = candidates;
  let high = candidates.find(reaches) ?? Math.max(...candidates) + 3 * HOUR_MS;
  let low = Math.min(earliest, high) - 1000;
  // Binary search on whole seconds.
  while (high - low > 1000) {
    const middle = low + Math.floor((high - low) / 2000) * 1000;
    if (reaches(middle)) high = middle;
    else low = middle;
  }
  return high;
}

export function calendarWindow(instantMs: number, zone: string, unit: CalendarUnit): CalendarWindow {
  const dates = localDates(instantMs, zone, unit);
  const [startMs, endMs] = [startOfLocalDate(dates.start, zone), startOfLocalDate(dates.end, zone)];
  if (instantMs < endMs) return { startMs, endMs };
  // The clock was set back over this midnight: it shows the old date again, but the new one has begun.
  return { startMs: endMs, endMs: startOfLocalDate(dates.nextEnd, zone) };
}

interface WindowDates {
  readonly start: LocalDate;
  readonly end: LocalDate;
  /** Where the window after this one ends. */
  readonly nextEnd: LocalDate;
}

/** By the date that the zone's calendar shows at the instant. */
function localDates(instantMs: number, zone: string, unit: CalendarUnit): WindowDates {
  const local = new Date(wallClockMs(instantMs, zone));
  const [year, month, day] = [local.getUTCFullYear(), local.getUTCMonth() + 1, local.getUTCDate()];
  if (unit === 'month') {
    const first = (offset: number): LocalDate => ({ year, month: month + offset, day: 1 });
    return { start: first(0), end: first(1), nextEnd: first(2) };
  }
  const daysSinceMonday = (local.getUTCDay() + 6) % 7;
  const [firstDay, days] = unit === 'week' ? [day - daysSinceMonday, 7] : [day, 1];
  return {
    start: { year, month, day: firstDay },
    end: { year, month, day: firstDay + days },
    nextEnd: { year, month, day: firstDay + 2 * days },
  };
}

/**
 * The window that a first use opens: fixed milliseconds from that use, in no zone and on no calendar, so that "1 day" is
 * 24 hours also over a clock change. A use at or after its end opens the next one.
 */
export function firstUseWindow(firstUseMs: number, durationMs: number): CalendarWindow {
  return { startMs: firstUseMs, endMs: firstUseMs + durationMs };
}
