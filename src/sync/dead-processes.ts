/** A process as gateway_process shows it. */
export interface ProcessBeat {
  readonly id: string;
  readonly beat: string;
}

export interface WatchTiming {
  /** How long a beat must stand still under our eyes. */
  readonly deadAfterMs: number;
  /** Two looks further apart than this are not one watch: nobody saw whether beats could be written in between. */
  readonly maxGapMs: number;
}

/**
 * Tells which processes are dead: those whose beat stood still for `deadAfterMs` while this observer watched without a
 * break, by its own monotonic clock. No clock of another machine is read. A process that is seen for the first time has
 * the whole time before it, and so has everybody after a break: a look that failed, or one that comes late because the
 * observer itself stood still. What kept us from looking may have kept them from beating.
 */
export class DeadProcesses {
  private readonly seen = new Map<string, { beat: string; sinceMs: number }>();
  private lastLookMs: number | undefined;

  constructor(private readonly timing: WatchTiming) {}

  observe(processes: readonly ProcessBeat[], monotonicMs: number): readonly ProcessBeat[] {
    const { deadAfterMs, maxGapMs } = this.timing;
    if (this.lastLookMs !== undefined && monotonicMs - this.lastLookMs > maxGapMs) this.interrupt();
    this.lastLookMs = monotonicMs;
    const present = new Set(processes.map(({ id }) => id));
    for (const id of this.seen.keys()) if (!present.has(id)) this.seen.delete(id);
    return processes.filter((process) => {
      const known = this.seen.get(process.id);
      if (known?.beat !== process.beat) {
        this.seen.set(process.id, { beat: process.beat, sinceMs: monotonicMs });
        return false;
      }
      return monotonicMs - known.sinceMs >= deadAfterMs;
    });
  }

  /** A look failed: everybody's time starts again with the next one. */
  interrupt(): void {
    this.seen.clear();
  }
}
