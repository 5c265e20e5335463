import { BatchLane } from '../../platform/database/batch-lane';
import { type AwayLog, writeForward } from './write-forward';

export interface ForwardLaneOptions<T> {
  readonly windowMs: number;
  readonly maxBatch: number;
  readonly tenantOf: (item: T) => string;
  /** One statement, one transaction, idempotent by item; called in the turn that takes them. `isAside`: it may meet a lock that is known to be held. */
  readonly write: (items: readonly T[], isAside: boolean) => Promise<void>;
  /** The one item Postgres will never take, or that was still unwritten when the process had to stop. */
  readonly refused: (item: T, error: unknown) => void;
  readonly signal: AbortSignal;
  readonly log: AwayLog;
}

interface SideLane<T> {
  readonly queue: T[];
  readonly done: Promise<void>;
}

/**
 * A lane whose batches are retried forward, and which no tenant blocks for the others.
 *
 *   main lane ── a row is locked ──► one side lane for each tenant of that batch ── written ──► main lane again
 *
 * A side lane writes its tenant's items alone, in their order, until none is left; a tenant nobody blocks has left it
 * within one write. What arrives for the tenant meanwhile joins it, so that the main lane meets the held lock once.
 * `write` learns of each item in the turn in which it leaves the queue, and may wait for a connection after that.
 */
export class ForwardLane<T> {
  private readonly main: BatchLane<T>;
  private readonly sides = new Map<string, SideLane<T>>();
  private besides = 0;

  constructor(private readonly options: ForwardLaneOptions<T>) {
    this.main = new BatchLane<T>({
      windowMs: options.windowMs,
      maxBatch: options.maxBatch,
      write: (batch) => this.writeMain(batch),
    });
  }

  /** Items that wait, with all that stand in side lanes. */
  get depth(): number {
    return this.main.depth + this.besides;
  }

  get isIdle(): boolean {
    return this.main.isIdle && this.sides.size === 0;
  }

  push(item: T): void {
    const side = this.sides.get(this.options.tenantOf(item));
    if (!side) {
      this.main.push(item);
      return;
    }
    side.queue.push(item);
    this.besides += 1;
  }

  /** Takes an item back that has not left yet; false where it has. */
  remove(item: T): boolean {
    if (this.main.remove(item)) return true;
    const queue = this.sides.get(this.options.tenantOf(item))?.queue ?? [];
    const at = queue.lastIndexOf(item);
    if (at < 0) return false;
    queue.splice(at, 1);
    this.besides -= 1;
    return true;
  }

  /** Resolves when nothing is queued or under way, in no side lane either. */
  async drain(): Promise<void> {
    for (;;) {
      await this.main.drain();
      if (this.sides.size === 0) return;
      await Promise.all([...this.sides.values()].map((side) => side.done));
    }
  }

  private writeMain(batch: readonly T[]): Promise<void> {
    const { write, refused, signal, log } = this.options;
    return writeForward({
      batch,
      write: (items) => write(items, false),
      refused,
      putAside: (items) => {
        this.putAside(items);
      },
      signal,
      log,
    });
  }

  private putAside(items: readonly T[]): void {
    const byTenant = Map.groupBy(items, this.options.tenantOf);
    const queued = this.main.take((item) => byTenant.has(this.options.tenantOf(item)));
    for (const item of queued) byTenant.get(this.options.tenantOf(item))?.push(item);
    this.besides += items.length + queued.length;
    for (const [tenantId, ofTenant] of byTenant) {
      const standing = this.sides.get(tenantId);
      // The other half of the same batch: older than all that has joined since.
      if (standing) standing.queue.unshift(...ofTenant);
      else this.sides.set(tenantId, { queue: ofTenant, done: this.writeAside(tenantId, ofTenant) });
    }
  }

  private async writeAside(tenantId: string, queue: T[]): Promise<void> {
    const { write, refused, signal, log, maxBatch } = this.options;
    while (queue.length > 0) {
      const batch = queue.splice(0, maxBatch);
      await writeForward({
        batch,
        write: (items) => write(items, true),
        refused,
        signal,
        log,
      });
      this.besides -= batch.length;
    }
    this.sides.delete(tenantId);
  }
}
