import fc from 'fast-check';
import { HandClock } from '../../test/support/upstream-harness';
import { Breaker, BREAKER_TRANSITIONS, type BreakerEvent, type BreakerState, TRIAL_MS } from './breaker';

const OPEN_MS = 10_000;
const STATES = Object.keys(BREAKER_TRANSITIONS) as BreakerState[];
const EVENTS: readonly BreakerEvent[] = [
  'tripped',
  'trial_allowed',
  'trial_succeeded',
  'trial_failed',
  'told_open',
  'told_closed',
];

describe('a breaker', () => {
  let clock: HandClock;
  let breaker: Breaker;

  beforeEach(() => {
    clock = new HandClock();
    breaker = new Breaker({ failures: 5, openMs: OPEN_MS }, clock);
  });

  function failInARow(times: number): (number | undefined)[] {
    return Array.from({ length: times }, () => breaker.failed(false));
  }

  function bringTo(state: BreakerState): void {
    if (state === 'closed') return;
    failInARow(5);
    if (state === 'open') return;
    clock.ms += OPEN_MS;
    breaker.allowTrial();
    breaker.beginTrial();
  }

  /** What makes each event happen, where it can. */
  const happen: Readonly<Record<BreakerEvent, () => unknown>> = {
    tripped: () => failInARow(5),
    trial_allowed: () => {
      clock.ms += OPEN_MS;
      breaker.allowTrial();
    },
    trial_succeeded: () => breaker.succeeded(true),
    trial_failed: () => breaker.failed(true),
    told_open: () => {
      breaker.toldOpen(OPEN_MS);
    },
    told_closed: () => {
      breaker.toldClosed();
    },
  };

  const cells = STATES.flatMap((from) =>
    EVENTS.map((event) => [from, event, BREAKER_TRANSITIONS[from][event]] as const),
  );

  it.each(cells.filter(([, , to]) => to !== undefined))('%s, %s: it is %s', (from, event, to) => {
    bringTo(from);
    expect(breaker.state).toBe(from);
    happen[event]();
    expect(breaker.state).toBe(to);
  });

  it.each(cells.filter(([, , to]) => to === undefined))('%s, %s: it stays what it is', (from, event) => {
    bringTo(from);
    if (event === 'trial_allowed') expect(happen[event]).toThrow(/allows no trial/);
    else if (!(from === 'closed' && event === 'trial_failed')) happen[event]();
    expect(breaker.state).toBe(from);
  });

  it('opens with the fifth failure in a row, for as long as it is told', () => {
    expect(failInARow(4)).toEqual([undefined, undefined, undefined, undefined]);
    breaker.succeeded(false);
    expect(failInARow(5)).toEqual([undefined, undefined, undefined, undefined, OPEN_MS]);
    expect([breaker.state, breaker.level, breaker.endMs - clock.ms]).toEqual(['open', 2, OPEN_MS]);
  });

  it('opens where more than half of the last twenty calls failed, never five in a row', () => {
    const ends = Array.from({ length: 30 }, (_, call) => {
      if (call % 5 === 0 || call % 5 === 3) {
        breaker.succeeded(false);
        return undefined;
      }
      return breaker.failed(false);
    });
    expect(ends.findIndex((openMs) => openMs !== undefined)).toBeGreaterThanOrEqual(19);
    expect(ends.findIndex((openMs) => openMs !== undefined)).toBeLessThan(22);
  });

  it('stays closed where half of the calls fail', () => {
    for (let call = 0; call < 1_000; call += 1) {
      breaker.succeeded(false);
      expect(breaker.failed(false)).toBeUndefined();
    }
  });

  it('never opens where it is switched off', () => {
    breaker = new Breaker({ failures: 0, openMs: OPEN_MS }, clock);
    for (let call = 0; call < 1_000; call += 1) expect(breaker.failed(false)).toBeUndefined();
  });

  it('is not moved by calls that were under way when it opened', () => {
    bringTo('open');
    const { endMs } = breaker;
    clock.ms += 1_000;
    expect([breaker.failed(false), breaker.succeeded(false)]).toEqual([undefined, false]);
    expect([breaker.state, breaker.endMs]).toEqual(['open', endMs]);
    bringTo('open');
    clock.ms += OPEN_MS;
    breaker.allowTrial();
    breaker.beginTrial();
    expect([breaker.failed(false), breaker.succeeded(false), breaker.state]).toEqual([undefined, false, 'half_open']);
  });

  it('lets one call try: the next one where that tells nothing, or does not begin in time', () => {
    bringTo('open');
    expect([breaker.isDue, breaker.awaitsTrial]).toEqual([false, false]);
    clock.ms += OPEN_MS;
    expect(breaker.isDue).toBe(true);
    breaker.allowTrial();
    expect([breaker.isDue, breaker.awaitsTrial, breaker.level]).toEqual([false, true, 1]);
    breaker.beginTrial();
    expect(breaker.awaitsTrial).toBe(false);
    expect(() => {
      breaker.beginTrial();
    }).toThrow(/awaits no trial/);
    breaker.abandonTrial();
    expect(breaker.awaitsTrial).toBe(true);
    breaker.beginTrial();
    clock.ms += TRIAL_MS;
    expect(breaker.awaitsTrial).toBe(true);
  });

  it('is open for twice as long after each trial that fails, up to six times, and as long as at first once it was closed', () => {
    bringTo('open');
    const lengths: (number | undefined)[] = [];
    for (let trial = 0; trial < 5; trial += 1) {
      clock.ms = breaker.endMs;
      breaker.allowTrial();
      breaker.beginTrial();
      lengths.push(breaker.failed(true));
    }
    expect(lengths).toEqual([20_000, 40_000, 60_000, 60_000, 60_000]);
    clock.ms = breaker.endMs;
    breaker.allowTrial();
    breaker.beginTrial();
    expect(breaker.succeeded(true)).toBe(true);
    expect(failInARow(5).at(-1)).toBe(OPEN_MS);
  });

  it('is open as long as another process says, never shorter than it was, and doubles from there', () => {
    breaker.toldOpen(40_000);
    breaker.toldOpen(3_000);
    expect(breaker.endMs - clock.ms).toBe(40_000);
    clock.ms = breaker.endMs;
    breaker.allowTrial();
    breaker.beginTrial();
    breaker.toldOpen(20_000);
    expect([breaker.state, breaker.endMs - clock.ms]).toEqual(['open', 20_000]);
    // Its own trial ends after that, and says nothing any more.
    expect([breaker.succeeded(true), breaker.failed(true), breaker.state]).toEqual([false, undefined, 'open']);
  });

  it('keeps to its table whatever happens in whatever order', () => {
    const command = fc.constantFrom(
      'fail',
      'succeed',
      'trial fails',
      'trial succeeds',
      'abandon',
      'open',
      'close',
      'try',
      'wait',
    );
    fc.assert(
      fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
        clock = new HandClock();
        breaker = new Breaker({ failures: 2, openMs: OPEN_MS }, clock);
        for (const what of commands) {
          const before = breaker.state;
          if (what === 'fail') breaker.failed(false);
          if (what === 'succeed') breaker.succeeded(false);
          if (what === 'trial fails') breaker.failed(true);
          if (what === 'trial succeeds') breaker.succeeded(true);
          if (what === 'abandon') breaker.abandonTrial();
          if (what === 'open') breaker.toldOpen(5_000);
          if (what === 'close') breaker.toldClosed();
          if (what === 'wait') clock.ms += 7_000;
          if (what === 'try' && breaker.isDue) breaker.allowTrial();
          if (what === 'try' && breaker.awaitsTrial) breaker.beginTrial();
          const reachable = new Set<string>([before, ...Object.values(BREAKER_TRANSITIONS[before])]);
          expect(reachable).toContain(breaker.state);
          expect(breaker.endMs > 0).toBe(breaker.state !== 'closed');
          expect(breaker.isDue && breaker.awaitsTrial).toBe(false);
          if (what === 'close') expect(breaker.state).toBe('closed');
        }
      }),
      { seed: 20_261_121, numRuns: 2_000 },
    );
  });
});
