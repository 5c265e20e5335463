/**
 * Group commit: items that arrive close together leave in one statement.
 *
 * At most one batch is under way; what arrives meanwhile is the next batch. An idle lane waits `windowMs` after its
 * first item, so that a burst shares one commit. The lane never drops an item: `write` owns each it was given until it
 * has told the item's owner.
 */
export interface BatchLaneOptions<T> {
  readonly windowMs: number;
  readonly maxBatch: number;
  /** Must settle every item and never reject. */
  readonly write: (batch: readonly T[]) => Promise<void>;
}

export class BatchLane<T> {
  private queue: { readonly item: T; readonly queuedAtMs: number }[] = [];
  private isWriting = false;
  private timer: NodeJS.Timeout | undefined;
  private idleWaiters: (() => void)[] = [];

  constructor(private readonly options: BatchLaneOptions<T>) {}

  get depth(): number {
    return this.queue.length;
  }

  /** Nothing is queued and nothing under way. */
  get isIdle(): boolean {
    return !this.isWriting && this.queue.length === 0;
  }

  push(item: T): void {
    this.queue.push({ item, queuedAtMs: performance.now() });
    if (!this.isWriting && this.timer === undefined) this.arm(this.options.windowMs);
  }

  /** Takes an item back that has not left yet; false where it has. */
  remove(item: T): boolean {
    const at = this.queue.findLastIndex((queued) => queued.item === item);
    if (at < 0) return false;
    this.queue.splice(at, 1);
    return true;
  }

  /** Takes back all items that match and have not left yet, in their order. */
  take(matches: (item: T) => boolean): T[] {
    const taken = this.queue.filter((queued) => matches(queued.item)).map((queued) => queued.item);
    if (taken.length > 0) this.queue = this.queue.filter((queued) => !matches(queued.item));
    return taken;
  }

  /** Resolves when nothing is queued or under way. */
  drain(): Promise<void> {
    if (this.isIdle) return Promise.resolve();
    const drained = new Promise<void>((resolve) => this.idleWaiters.push(resolve));
    if (!this.isWriting) this.flush();
    return drained;
  }

  private arm(delayMs: number): void {
    this.timer = setTimeout(() => {
      this.flush();
    }, delayMs);
  }

  private flush(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.isWriting) return;
    const batch = this.queue.splice(0, this.options.maxBatch).map((queued) => queued.item);
    if (batch.length === 0) {
      this.becomeIdle();
      return;
    }
    this.isWriting = true;
    void this.options.write(batch).finally(() => {
      this.isWriting = false;
      this.afterWrite();
    });
  }

  private afterWrite(): void {
    const [oldest] = this.queue;
    if (!oldest) {
      this.becomeIdle();
      return;
    }
    const waitMs = this.options.windowMs - (performance.now() - oldest.queuedAtMs);
    if (waitMs <= 0 || this.idleWaiters.length > 0) this.flush();
    else this.arm(waitMs);
  }

  private becomeIdle(): void {
    const waiters = this.idleWaiters;
    this.idleWaiters = [];
    for (const resolve of waiters) resolve();
  }
}
