import fc from 'fast-check';
import { calendarWindow, isTimeZone } from './windows';

const at = (text: string): number => Date.parse(text);
const iso = (ms: number): string => new Date(ms).toISOString();

describe('calendar windows', () => {
  it.each([
    ['an ordinary day', '2026-11-21T13:00:00Z', 'UTC', '2026-11-21T00:00:00.000Z', '2026-11-22T00:00:00.000Z'],
    [
      'a zone east of UTC',
      '2026-11-21T17:00:00Z',
      'Asia/Shanghai',
      '2026-11-21T16:00:00.000Z',
      '2026-11-22T16:00:00.000Z',
    ],
    [
      'UTC+14',
      '2026-11-21T09:59:59.999Z',
      'Pacific/Kiritimati',
      '2026-11-20T10:00:00.000Z',
      '2026-11-21T10:00:00.000Z',
    ],
    ['UTC−12', '2026-11-21T11:59:59.999Z', 'Etc/GMT+12', '2026-11-20T12:00:00.000Z', '2026-11-21T12:00:00.000Z'],
    [
      'a 23-hour day (clocks go forward)',
      '2026-03-08T12:00:00Z',
      'America/New_York',
      '2026-03-08T05:00:00.000Z',
      '2026-03-09T04:00:00.000Z',
    ],
    [
      'a 25-hour day (clocks go back)',
      '2026-11-01T12:00:00Z',
      'America/New_York',
      '2026-11-01T04:00:00.000Z',
      '2026-11-02T05:00:00.000Z',
    ],
    [
      'a day without midnight',
      '2018-11-04T12:00:00Z',
      'America/Sao_Paulo',
      '2018-11-04T03:00:00.000Z',
      '2018-11-05T02:00:00.000Z',
    ],
    [
      'a half-hour change',
      '2026-10-04T00:00:00Z',
      'Australia/Lord_Howe',
      '2026-10-03T13:30:00.000Z',
      '2026-10-04T13:00:00.000Z',
    ],
    ['a leap day', '2028-02-29T10:00:00Z', 'UTC', '2028-02-29T00:00:00.000Z', '2028-03-01T00:00:00.000Z'],
    [
      'the last millisecond of a day',
      '2026-12-31T23:59:59.999Z',
      'UTC',
      '2026-12-31T00:00:00.000Z',
      '2027-01-01T00:00:00.000Z',
    ],
  ])('day: %s', (_, instant, zone, start, end) => {
    const window = calendarWindow(at(instant), zone, 'day');
    expect([iso(window.startMs), iso(window.endMs)]).toEqual([start, end]);
  });

  it.each([
    [
      'a month with a clock change',
      '2026-03-20T12:00:00Z',
      'Europe/Berlin',
      '2026-02-28T23:00:00.000Z',
      '2026-03-31T22:00:00.000Z',
    ],
    ['a leap February', '2028-02-10T00:00:00Z', 'UTC', '2028-02-01T00:00:00.000Z', '2028-03-01T00:00:00.000Z'],
    ['December', '2026-12-15T00:00:00Z', 'Asia/Kolkata', '2026-11-30T18:30:00.000Z', '2026-12-31T18:30:00.000Z'],
    [
      'the first instant of a month',
      '2026-12-01T00:00:00Z',
      'UTC',
      '2026-12-01T00:00:00.000Z',
      '2027-01-01T00:00:00.000Z',
    ],
  ])('month: %s', (_, instant, zone, start, end) => {
    const window = calendarWindow(at(instant), zone, 'month');
    expect([iso(window.startMs), iso(window.endMs)]).toEqual([start, end]);
  });

  it('contains its instant, and the next window begins where it ends, in every zone over ten years', () => {
    const zones = Intl.supportedValuesOf('timeZone');
    const from = at('2020-01-01T00:00:00Z');
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 10 * 366 * 86_400 }),
        fc.constantFrom(...zones),
        fc.constantFrom('day' as const, 'month' as const),
        (seconds, zone, unit) => {
          const instant = from + seconds * 1000;
          const window = calendarWindow(instant, zone, unit);
          expect(window.startMs).toBeLessThanOrEqual(instant);
          expect(window.endMs).toBeGreaterThan(instant);
          expect(calendarWindow(window.startMs, zone, unit)).toEqual(window);
          expect(calendarWindow(window.endMs - 1, zone, unit)).toEqual(window);
          expect(calendarWindow(window.endMs, zone, unit).startMs).toBe(window.endMs);
        },
      ),
      { seed: 20_261_121, numRuns: 500 },
    );
  });

  it('knows which zone names exist', () => {
    expect(isTimeZone('Asia/Shanghai')).toBe(true);
    expect(isTimeZone('Mars/Olympus')).toBe(false);
    expect(isTimeZone('')).toBe(false);
  });
});
