import fc from 'fast-check';
import { type CalendarUnit, calendarWindow, firstUseWindow, isTimeZone } from './windows';

const at = (text: string): number => Date.parse(text);
const iso = (ms: number): string => new Date(ms).toISOString();

/** What stands beside a case: an instant, its zone, and the window around it in UTC. */
type Case = readonly [name: string, instant: string, zone: string, start: string, end: string];

const DAYS: readonly Case[] = [
  ['an ordinary day', '2026-11-21T13:00:00Z', 'UTC', '2026-11-21T00:00Z', '2026-11-22T00:00Z'],
  ['a zone east of UTC', '2026-11-21T17:00:00Z', 'Asia/Shanghai', '2026-11-21T16:00Z', '2026-11-22T16:00Z'],
  ['UTC+14', '2026-11-21T09:59:59.999Z', 'Pacific/Kiritimati', '2026-11-20T10:00Z', '2026-11-21T10:00Z'],
  ['UTC−12', '2026-11-21T11:59:59.999Z', 'Etc/GMT+12', '2026-11-20T12:00Z', '2026-11-21T12:00Z'],
  ['23 hours in New York', '2026-03-08T12:00:00Z', 'America/New_York', '2026-03-08T05:00Z', '2026-03-09T04:00Z'],
  ['25 hours in New York', '2026-11-01T12:00:00Z', 'America/New_York', '2026-11-01T04:00Z', '2026-11-02T05:00Z'],
  ['23 hours in Berlin', '2026-03-29T12:00:00Z', 'Europe/Berlin', '2026-03-28T23:00Z', '2026-03-29T22:00Z'],
  ['25 hours in Berlin', '2026-10-25T12:00:00Z', 'Europe/Berlin', '2026-10-24T22:00Z', '2026-10-25T23:00Z'],
  ['no midnight in São Paulo', '2018-11-04T12:00:00Z', 'America/Sao_Paulo', '2018-11-04T03:00Z', '2018-11-05T02:00Z'],
  ['no midnight in Santiago', '2026-09-06T12:00:00Z', 'America/Santiago', '2026-09-06T04:00Z', '2026-09-07T03:00Z'],
  ['no midnight in Beirut', '2026-03-29T12:00:00Z', 'Asia/Beirut', '2026-03-28T22:00Z', '2026-03-29T21:00Z'],
  [
    '23 o’clock twice in Santiago',
    '2026-04-05T03:30:00Z',
    'America/Santiago',
    '2026-04-04T03:00Z',
    '2026-04-05T04:00Z',
  ],
  ['23 o’clock twice in Beirut', '2026-10-24T21:30:00Z', 'Asia/Beirut', '2026-10-23T21:00Z', '2026-10-24T22:00Z'],
  ['midnight twice in Havana', '2026-11-01T12:00:00Z', 'America/Havana', '2026-11-01T04:00Z', '2026-11-02T05:00Z'],
  // At 00:01 the clock went back to 23:01: the day has begun with the first midnight and does not end again.
  ['a minute past midnight', '2010-11-07T02:30:30Z', 'America/St_Johns', '2010-11-07T02:30Z', '2010-11-08T03:30Z'],
  ['set back over midnight', '2010-11-07T02:31:00Z', 'America/St_Johns', '2010-11-07T02:30Z', '2010-11-08T03:30Z'],
  ['the day before that', '2010-11-07T02:29:59.999Z', 'America/St_Johns', '2010-11-06T02:30Z', '2010-11-07T02:30Z'],
  ['half an hour forward', '2026-10-04T00:00:00Z', 'Australia/Lord_Howe', '2026-10-03T13:30Z', '2026-10-04T13:00Z'],
  ['half an hour back', '2026-04-05T12:00:00Z', 'Australia/Lord_Howe', '2026-04-04T13:00Z', '2026-04-05T13:30Z'],
  ['before a skipped day', '2011-12-30T09:59:59.999Z', 'Pacific/Apia', '2011-12-29T10:00Z', '2011-12-30T10:00Z'],
  ['after a skipped day', '2011-12-30T10:00:00Z', 'Pacific/Apia', '2011-12-30T10:00Z', '2011-12-31T10:00Z'],
  ['a leap day', '2028-02-29T10:00:00Z', 'UTC', '2028-02-29T00:00Z', '2028-03-01T00:00Z'],
  ['no leap day in 2100', '2100-02-28T10:00:00Z', 'UTC', '2100-02-28T00:00Z', '2100-03-01T00:00Z'],
  ['the last millisecond of a day', '2026-12-31T23:59:59.999Z', 'UTC', '2026-12-31T00:00Z', '2027-01-01T00:00Z'],
  ['the first millisecond of a day', '2027-01-01T00:00:00.000Z', 'UTC', '2027-01-01T00:00Z', '2027-01-02T00:00Z'],
];

const WEEKS: readonly Case[] = [
  ['a Saturday', '2026-11-21T13:00:00Z', 'UTC', '2026-11-16T00:00Z', '2026-11-23T00:00Z'],
  ['the last millisecond of a Sunday', '2026-11-22T23:59:59.999Z', 'UTC', '2026-11-16T00:00Z', '2026-11-23T00:00Z'],
  ['the first millisecond of a Monday', '2026-11-23T00:00:00Z', 'UTC', '2026-11-23T00:00Z', '2026-11-30T00:00Z'],
  ['week 53 of 2026', '2026-12-31T12:00:00Z', 'UTC', '2026-12-28T00:00Z', '2027-01-04T00:00Z'],
  ['week 53 of 2026, in January', '2027-01-03T23:59:59.999Z', 'UTC', '2026-12-28T00:00Z', '2027-01-04T00:00Z'],
  ['week 1 of 2027', '2027-01-04T00:00:00Z', 'UTC', '2027-01-04T00:00Z', '2027-01-11T00:00Z'],
  ['week 1 of 2025, from December', '2024-12-30T00:00:00Z', 'UTC', '2024-12-30T00:00Z', '2025-01-06T00:00Z'],
  ['a leap day within', '2028-03-01T00:00:00Z', 'UTC', '2028-02-28T00:00Z', '2028-03-06T00:00Z'],
  [
    'Monday in the zone, Sunday in UTC',
    '2026-11-22T16:00:00Z',
    'Asia/Shanghai',
    '2026-11-22T16:00Z',
    '2026-11-29T16:00Z',
  ],
  ['167 hours', '2026-03-29T12:00:00Z', 'Europe/Berlin', '2026-03-22T23:00Z', '2026-03-29T22:00Z'],
  ['169 hours', '2026-10-25T12:00:00Z', 'Europe/Berlin', '2026-10-18T22:00Z', '2026-10-25T23:00Z'],
  ['UTC+14', '2026-11-22T09:59:59.999Z', 'Pacific/Kiritimati', '2026-11-15T10:00Z', '2026-11-22T10:00Z'],
  ['UTC−12', '2026-11-23T11:59:59.999Z', 'Etc/GMT+12', '2026-11-16T12:00Z', '2026-11-23T12:00Z'],
  ['six days around a skipped one', '2011-12-29T12:00:00Z', 'Pacific/Apia', '2011-12-26T10:00Z', '2012-01-01T10:00Z'],
  ['ended by a clock set back', '2010-11-07T02:30:30Z', 'America/St_Johns', '2010-11-01T02:30Z', '2010-11-08T03:30Z'],
];

const MONTHS: readonly Case[] = [
  ['a month with a clock change', '2026-03-20T12:00:00Z', 'Europe/Berlin', '2026-02-28T23:00Z', '2026-03-31T22:00Z'],
  ['half an hour longer', '2026-04-10T00:00:00Z', 'Australia/Lord_Howe', '2026-03-31T13:00Z', '2026-04-30T13:30Z'],
  ['a leap February', '2028-02-10T00:00:00Z', 'UTC', '2028-02-01T00:00Z', '2028-03-01T00:00Z'],
  ['a common February', '2027-02-28T23:59:59.999Z', 'UTC', '2027-02-01T00:00Z', '2027-03-01T00:00Z'],
  ['December', '2026-12-15T00:00:00Z', 'Asia/Kolkata', '2026-11-30T18:30Z', '2026-12-31T18:30Z'],
  ['the first instant of a month', '2026-12-01T00:00:00Z', 'UTC', '2026-12-01T00:00Z', '2027-01-01T00:00Z'],
  ['the last instant of a month', '2026-11-30T23:59:59.999Z', 'UTC', '2026-11-01T00:00Z', '2026-12-01T00:00Z'],
  ['UTC+14', '2026-11-30T10:00:00Z', 'Pacific/Kiritimati', '2026-11-30T10:00Z', '2026-12-31T10:00Z'],
  ['UTC−12', '2026-12-01T11:59:59.999Z', 'Etc/GMT+12', '2026-11-01T12:00Z', '2026-12-01T12:00Z'],
  ['a month that lost a day', '2011-12-15T00:00:00Z', 'Pacific/Apia', '2011-12-01T10:00Z', '2011-12-31T10:00Z'],
];

describe('calendar windows', () => {
  const windowOf = (instant: string, zone: string, unit: CalendarUnit): readonly string[] => {
    const { startMs, endMs } = calendarWindow(at(instant), zone, unit);
    return [iso(startMs), iso(endMs)];
  };
  const both = (start: string, end: string): readonly string[] => [iso(at(start)), iso(at(end))];

  it.each(DAYS)('day: %s', (_, instant, zone, start, end) => {
    expect(windowOf(instant, zone, 'day')).toEqual(both(start, end));
  });

  it.each(WEEKS)('week: %s', (_, instant, zone, start, end) => {
    expect(windowOf(instant, zone, 'week')).toEqual(both(start, end));
  });

  it.each(MONTHS)('month: %s', (_, instant, zone, start, end) => {
    expect(windowOf(instant, zone, 'month')).toEqual(both(start, end));
  });

  it.each([...DAYS, ...WEEKS, ...MONTHS])('turns at the millisecond: %s', (_, instant, zone) => {
    for (const unit of UNITS) {
      const window = calendarWindow(at(instant), zone, unit);
      expect(calendarWindow(window.startMs - 1, zone, unit).endMs).toBe(window.startMs);
      expect(calendarWindow(window.startMs, zone, unit)).toEqual(window);
      expect(calendarWindow(window.endMs - 1, zone, unit)).toEqual(window);
      expect(calendarWindow(window.endMs, zone, unit).startMs).toBe(window.endMs);
    }
  });

  it('knows which zone names exist', () => {
    expect(isTimeZone('Asia/Shanghai')).toBe(true);
    expect(isTimeZone('Mars/Olympus')).toBe(false);
    expect(isTimeZone('')).toBe(false);
  });
});

const UNITS: readonly CalendarUnit[] = ['day', 'week', 'month'];
const ZONES = [...Intl.supportedValuesOf('timeZone'), 'UTC', 'Etc/GMT+12', 'Etc/GMT-14'];

/** What a zone's calendar shows, asked of the runtime in another way than windows.ts asks. */
function dateIn(
  zone: string,
  ms: number,
): { readonly date: string; readonly weekday: string; readonly offset: string } {
  const parts = new Intl.DateTimeFormat('en-CA', {
    timeZone: zone,
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    weekday: 'short',
    timeZoneName: 'longOffset',
  }).formatToParts(ms);
  const of = (type: Intl.DateTimeFormatPartTypes): string => parts.find((part) => part.type === type)?.value ?? '';
  return {
    date: `${of('year')}-${of('month')}-${of('day')}`,
    weekday: of('weekday'),
    offset: of('timeZoneName'),
  };
}

/** The instants, to the second, at which the zone's offset changes within these milliseconds. */
function clockChanges(zone: string, fromMs: number, untilMs: number): number[] {
  const offsetAt = (ms: number): string => dateIn(zone, ms).offset;
  const found: number[] = [];
  const STEP_MS = 14 * 86_400_000;
  for (let start = fromMs; start < untilMs; start += STEP_MS) {
    let [low, high] = [start, start + STEP_MS];
    const before = offsetAt(low);
    if (before === offsetAt(high)) continue;
    while (high - low > 1000) {
      const middle = low + Math.floor((high - low) / 2000) * 1000;
      if (offsetAt(middle) === before) low = middle;
      else high = middle;
    }
    found.push(high);
  }
  return found;
}

function expectWhole(instantMs: number, zone: string, unit: CalendarUnit): void {
  const window = calendarWindow(instantMs, zone, unit);
  expect(window.startMs).toBeLessThanOrEqual(instantMs);
  expect(window.endMs).toBeGreaterThan(instantMs);
  expect(calendarWindow(window.startMs, zone, unit)).toEqual(window);
  expect(calendarWindow(window.endMs - 1, zone, unit)).toEqual(window);
  expect(calendarWindow(window.endMs, zone, unit).startMs).toBe(window.endMs);
  // It turns where the calendar's date does, on a Monday or a first.
  const first = dateIn(zone, window.startMs);
  expect(dateIn(zone, window.startMs - 1).date < first.date).toBe(true);
  if (unit === 'week') expect(first.weekday).toMatch(/^Mon/);
  if (unit === 'month') expect(first.date).toMatch(/-01$/);
}

describe('calendar windows in every zone', () => {
  it('contain their instant, meet without gap, and begin where the calendar’s day, Monday or month does', () => {
    const from = at('2000-01-01T00:00:00Z');
    const instants = fc.integer({ min: 0, max: 40 * 366 * 86_400_000 }).map((ms) => from + ms);
    fc.assert(
      fc.property(instants, fc.constantFrom(...ZONES), fc.constantFrom(...UNITS), (instant, zone, unit) => {
        expectWhole(instant, zone, unit);
      }),
      { seed: 20_261_121, numRuns: 600 },
    );
  });

  it('do so around every change of the clocks', () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(fc.constantFrom(...ZONES), fc.integer({ min: 1975, max: 2036 }), (zone, year) => {
        for (const change of clockChanges(zone, Date.UTC(year, 0, 1), Date.UTC(year + 1, 0, 1))) {
          seen.add(`${zone} ${year}`);
          for (const besideMs of [-86_400_000, -3_600_001, -1, 0, 1, 59_999, 3_600_000, 86_400_000]) {
            for (const unit of UNITS) expectWhole(change + besideMs, zone, unit);
          }
        }
      }),
      { seed: 20_261_122, numRuns: 250 },
    );
    expect(seen.size).toBeGreaterThan(40);
  });
});

describe('windows from a first use', () => {
  const HOUR_MS = 3_600_000;
  const DAY_MS = 24 * HOUR_MS;

  it.each([
    ['5 hours', 5 * HOUR_MS, '2026-03-08T06:30:00.123Z', '2026-03-08T11:30:00.123Z'],
    ['1 day over a clock change', DAY_MS, '2026-03-08T06:30:00.123Z', '2026-03-09T06:30:00.123Z'],
    ['7 days over the end of a year', 7 * DAY_MS, '2026-12-29T23:59:59.999Z', '2027-01-05T23:59:59.999Z'],
    ['30 days over a leap day', 30 * DAY_MS, '2028-02-15T00:00:00.000Z', '2028-03-16T00:00:00.000Z'],
    ['30 days over a common February', 30 * DAY_MS, '2027-02-15T00:00:00.000Z', '2027-03-17T00:00:00.000Z'],
  ])('%s end as much later, to the millisecond', (_, durationMs, firstUse, end) => {
    const window = firstUseWindow(at(firstUse), durationMs);
    expect([iso(window.startMs), iso(window.endMs)]).toEqual([firstUse, end]);
    expect(window.endMs - window.startMs).toBe(durationMs);
  });
});
