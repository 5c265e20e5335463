/** Windows of a zone's calendar, found by looking at its dates alone: nothing of the product's arithmetic is in here. */
export interface Window {
  readonly startMs: number;
  readonly endMs: number;
}

export type Unit = 'day' | 'week' | 'month';

const QUARTER_MS = 15 * 60_000;
const DAY_MS = 24 * 3_600_000;

const formats = new Map<string, Intl.DateTimeFormat>();
const known = new Map<string, Window[]>();

/** The window of `unit` around an instant. Zones change their offset on whole quarters of an hour. */
export function windowAround(instantMs: number, zone: string, unit: Unit): Window {
  const key = `${zone} ${unit}`;
  const found = known.get(key)?.find(({ startMs, endMs }) => instantMs >= startMs && instantMs < endMs);
  if (found) return found;
  const label = labelOf(instantMs, zone, unit);
  const isSame = (timeMs: number): boolean => labelOf(timeMs, zone, unit) === label;
  const window = {
    startMs: edge(Math.floor(instantMs / QUARTER_MS) * QUARTER_MS, -1, isSame),
    endMs: edge(Math.floor(instantMs / QUARTER_MS) * QUARTER_MS, 1, isSame) + QUARTER_MS,
  };
  known.set(key, [...(known.get(key) ?? []), window]);
  return window;
}

/** The last quarter, going that way, that still carries the same label: by days first, then by quarters. */
function edge(fromMs: number, way: 1 | -1, isSame: (timeMs: number) => boolean): number {
  let atMs = fromMs;
  while (isSame(atMs + way * DAY_MS)) atMs += way * DAY_MS;
  while (isSame(atMs + way * QUARTER_MS)) atMs += way * QUARTER_MS;
  return atMs;
}

/** What all instants of one day, ISO week or month have in common, as the zone's calendar shows it. */
function labelOf(instantMs: number, zone: string, unit: Unit): string {
  const date = dateOf(instantMs, zone);
  if (unit === 'day') return date;
  if (unit === 'month') return date.slice(0, 7);
  const days = Math.round(Date.parse(`${date}T00:00:00Z`) / DAY_MS);
  // The first of January 1970 was a Thursday.
  return `week ${Math.floor((days + 3) / 7)}`;
}

function dateOf(instantMs: number, zone: string): string {
  let format = formats.get(zone);
  if (!format) {
    format = new Intl.DateTimeFormat('sv-SE', { timeZone: zone, year: 'numeric', month: '2-digit', day: '2-digit' });
    formats.set(zone, format);
  }
  return format.format(instantMs);
}
