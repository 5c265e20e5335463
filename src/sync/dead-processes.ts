/** A process as gateway_process shows it. */
export interface ProcessBeat {
  readonly id: string;
  readonly beat: string;
}

/**
 * Tells which processes are dead by this observer's own monotonic clock: a process whose beat has not moved for
 * `deadAfterMs` while we watched. No clock of another machine is read, and a process that has just been seen for the
 * first time has the whole time before it.
 */
export class DeadProcesses {
  private readonly seen = new Map<string, { beat: string; sinceMs: number }>();

  constructor(private readonly deadAfterMs: number) {}

  observe(processes: readonly ProcessBeat[], monotonicMs: number): readonly ProcessBeat[] {
    const present = new Set(processes.map(({ id }) => id));
    for (const id of this.seen.keys()) if (!present.has(id)) this.seen.delete(id);
    return processes.filter((process) => {
      const known = this.seen.get(process.id);
      if (known?.beat !== process.beat) {
        this.seen.set(process.id, { beat: process.beat, sinceMs: monotonicMs });
        return false;
      }
      return monotonicMs - known.sinceMs >= this.deadAfterMs;
    });
  }
}
