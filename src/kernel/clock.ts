/** Time enters the product only through this port, so that tests move it without sleeping. */
export interface Clock {
  /** Wall clock, milliseconds since the Unix epoch. */
  nowMs(): number;
  /** Monotonic, milliseconds; only differences mean something. */
  monotonicMs(): number;
  /**
   * What SQL and Redis scripts add to their own clock, milliseconds. Always 0 outside tests: production boot refuses
   * any other clock than SystemClock.
   */
  readonly offsetMs: number;
}

export const CLOCK = Symbol('Clock');

export class SystemClock implements Clock {
  readonly offsetMs = 0;

  nowMs(): number {
    return Date.now();
  }

  monotonicMs(): number {
    return performance.now();
  }
}

/** A real clock moved by a fixed offset, for tests of window boundaries. */
export class OffsetClock implements Clock {
  constructor(public offsetMs: number) {}

  nowMs(): number {
    return Date.now() + this.offsetMs;
  }

  monotonicMs(): number {
    return performance.now();
  }
}
