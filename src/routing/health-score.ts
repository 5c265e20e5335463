/** How much the last attempt counts against all before it. */
const NEWEST = 0.1;
/** The share of its weight that an upstream keeps however often it fails: it must be called to be seen well again. */
const LEAST_FOR_FAILURES = 0.2;
/** And however slow it is. Together: 0.05. */
const LEAST_FOR_LATENCY = 0.25;
/** First bytes that take this long halve the share. */
const HALVED_AT_MS = 2_000;

/**
 * How well one upstream serves this process: exponential averages of success and of the time to the first byte, made with
 * each report. `factor`, between 0.05 and 1, is what its weight is multiplied by.
 */
export class HealthScore {
  private rate = 1;
  private latency: number | undefined;
  private current = 1;

  get factor(): number {
    return this.current;
  }

  /** Share of attempts that the upstream answered, the last ones counting most. */
  get successRate(): number {
    return this.rate;
  }

  /** Undefined before its first answer. */
  get firstByteMs(): number | undefined {
    return this.latency;
  }

  answeredAfter(firstByteMs: number): void {
    this.latency = this.latency === undefined ? firstByteMs : this.latency + NEWEST * (firstByteMs - this.latency);
    this.score();
  }

  succeeded(): void {
    this.rate += NEWEST * (1 - this.rate);
    this.score();
  }

  failed(): void {
    this.rate -= NEWEST * this.rate;
    this.score();
  }

  private score(): void {
    const speed = this.latency === undefined ? 1 : HALVED_AT_MS / (HALVED_AT_MS + this.latency);
    this.current = Math.max(LEAST_FOR_FAILURES, this.rate) * Math.max(LEAST_FOR_LATENCY, speed);
  }
}
