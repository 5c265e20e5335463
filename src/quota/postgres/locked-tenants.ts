import { setTimeout as pause } from 'node:timers/promises';

interface Waiting {
  readonly tenantId: string;
  /** Its caller has its answer, or has gone. */
  readonly isOver: boolean;
}

export interface LockedTenantsOptions<T> {
  readonly maxBatch: number;
  /**
   * Settles the items, but for those whose tenant is locked: these it answers. Where it `waits`, they are of one tenant,
   * and stand in line for its locks for a moment.
   */
  readonly ask: (items: readonly T[], waits: boolean) => Promise<readonly T[]>;
  /** Takes back what waited: the tenant is not locked any more. */
  readonly free: (items: readonly T[]) => void;
}

/** Tenants that stand in line for their locks at once, each on a connection of its own. */
export const MAX_IN_LINE = 2;
const AGAIN_MS = 50;

/**
 * Where callers wait whose tenant's accounts somebody has locked.
 *
 *   locked ── there is room in the line ──► in line: its turn comes, however often others take the lock ──► free
 *   locked ── there is none, or it stood there in vain ──► asked again every 50 ms, by one item ── not locked ──► free
 *
 * Those who are asked again are so in one statement that waits for nobody: many locked tenants cost what one does.
 */
export class LockedTenants<T extends Waiting> {
  private readonly queues = new Map<string, T[]>();
  /** Of these one item is asked again, those first that were asked longest ago. */
  private readonly again = new Set<string>();
  private inLine = 0;
  private isAskingAgain = false;

  constructor(private readonly options: LockedTenantsOptions<T>) {}

  has(tenantId: string): boolean {
    return this.queues.has(tenantId);
  }

  /** Items that wait. */
  get size(): number {
    let size = 0;
    for (const queue of this.queues.values()) size += queue.length;
    return size;
  }

  /** Of a tenant that is known to be locked. */
  add(item: T): void {
    this.queues.get(item.tenantId)?.push(item);
  }

  put(tenantId: string, items: readonly T[]): void {
    const queue = [...items];
    this.queues.set(tenantId, queue);
    if (this.inLine < MAX_IN_LINE) void this.standInLine(tenantId, queue);
    else this.askAgainLater(tenantId);
  }

  private async standInLine(tenantId: string, queue: T[]): Promise<void> {
    this.inLine += 1;
    const locked = await this.options.ask(queue.splice(0, this.options.maxBatch), true);
    this.inLine -= 1;
    queue.unshift(...locked);
    if (locked.length > 0) this.askAgainLater(tenantId);
    else this.free(tenantId);
  }

  private askAgainLater(tenantId: string): void {
    this.again.add(tenantId);
    if (!this.isAskingAgain) void this.askAgain();
  }

  private async askAgain(): Promise<void> {
    this.isAskingAgain = true;
    while (this.again.size > 0) {
      await pause(AGAIN_MS);
      const asked = [...this.again].slice(0, this.options.maxBatch);
      const locked = await this.options.ask(
        asked.flatMap((tenantId) => this.lastOf(tenantId) ?? []),
        false,
      );
      const stillLocked = new Set(locked.map(({ tenantId }) => tenantId));
      for (const tenantId of asked) {
        this.again.delete(tenantId);
        if (stillLocked.has(tenantId)) this.again.add(tenantId);
        else this.free(tenantId);
      }
    }
    this.isAskingAgain = false;
  }

  /** Who came last, whose answer finds them still there; undefined where everybody has gone. */
  private lastOf(tenantId: string): T | undefined {
    const queue = this.queues.get(tenantId) ?? [];
    while (queue[0]?.isOver) queue.shift();
    return queue.at(-1);
  }

  private free(tenantId: string): void {
    const queue = this.queues.get(tenantId) ?? [];
    this.queues.delete(tenantId);
    this.options.free(queue);
  }
}
