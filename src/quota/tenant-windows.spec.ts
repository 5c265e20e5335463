import { calendarWindow } from '../kernel/windows';
import { TenantWindows } from './tenant-windows';

const at = (text: string): number => Date.parse(text);

describe('TenantWindows', () => {
  it.each(['day', 'week', 'month'] as const)('gives the %s around an instant and the one after it', (unit) => {
    const windows = new TenantWindows();
    const instant = at('2026-10-25T12:00:00Z');
    const pair = windows.around(instant, 'Europe/Berlin', unit);
    expect(pair.current).toEqual(calendarWindow(instant, 'Europe/Berlin', unit));
    expect(pair.next).toEqual(calendarWindow(pair.current.endMs, 'Europe/Berlin', unit));
    expect(pair.argv.map(Number)).toEqual([pair.current.startMs, pair.current.endMs, pair.next.endMs]);
    expect(pair.next.startMs).toBe(pair.current.endMs);
  });

  it('keeps zones and units apart, and follows an instant both ways over a boundary', () => {
    const windows = new TenantWindows();
    const monday = at('2026-11-23T00:00:00Z');
    for (const instant of [monday, monday - 1, monday, monday + 1]) {
      for (const unit of ['day', 'week', 'month'] as const) {
        for (const zone of ['UTC', 'Asia/Shanghai']) {
          expect(windows.around(instant, zone, unit).current).toEqual(calendarWindow(instant, zone, unit));
        }
      }
    }
  });

  it('works a window out once', () => {
    const windows = new TenantWindows();
    const noon = at('2026-11-21T12:00:00Z');
    expect(windows.around(noon + 1_000, 'UTC', 'week')).toBe(windows.around(noon, 'UTC', 'week'));
  });
});
