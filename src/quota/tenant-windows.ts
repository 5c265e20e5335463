import { calendarWindow, type CalendarUnit, type CalendarWindow } from '../kernel/windows';
import type { CountedScope } from './scopes/scope';

/** The window around an instant and the one after it, as quota_deduct.lua takes them: start, end, next end. */
export interface WindowPair {
  readonly current: CalendarWindow;
  readonly next: CalendarWindow;
  readonly argv: readonly [start: string, end: string, nextEnd: string];
}

/** Remembers the last pair of each zone and unit: zone arithmetic is far too slow for every request. */
export class TenantWindows {
  private readonly pairs = new Map<string, WindowPair>();

  around(instantMs: number, zone: string, unit: CalendarUnit): WindowPair {
    const key = unit === 'day' ? zone : `${zone}#${unit}`;
    const known = this.pairs.get(key);
    if (known && instantMs >= known.current.startMs && instantMs < known.current.endMs) return known;
    const current = calendarWindow(instantMs, zone, unit);
    const next = calendarWindow(current.endMs, zone, unit);
    const pair: WindowPair = {
      current,
      next,
      argv: [current.startMs.toString(), current.endMs.toString(), next.endMs.toString()],
    };
    this.pairs.set(key, pair);
    return pair;
  }
}

/** Day and month of a hold: as its request quotas counted them, else as the calendar has them. */
export function calendarWindowsOf(
  counted: readonly CountedScope[],
  windows: TenantWindows,
  nowMs: number,
  zone: string,
): { readonly dayWindow: CalendarWindow; readonly monthWindow: CalendarWindow } {
  const of = (counter: 'day' | 'month'): CalendarWindow => {
    const found = counted.find((scope) => scope.counter === counter);
    return found ?? windows.around(nowMs, zone, counter).current;
  };
  return { dayWindow: of('day'), monthWindow: of('month') };
}
