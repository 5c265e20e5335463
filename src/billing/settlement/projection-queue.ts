import { Inject, Injectable, Logger } from '@nestjs/common';
import { QUOTA_STORE, type PostedBalance, type QuotaStore } from '../../quota/quota-store.port';
import { messageOf } from '../../kernel/error-message';

/** What one tenant's projection has not been told yet. A set: a hold released twice while it waits is one release. */
interface TenantWork {
  readonly settled: Set<string>;
  posted: PostedBalance | undefined;
  readonly released: Set<string>;
}

const RETRY_MS = 100;
/** Hold ids in one script call: its work is bounded. */
const MAX_IDS = 500;
/** Calls under way at once, each for another tenant. */
const MAX_CALLS = 64;

/**
 * Tells the projection what the ledger has committed. One call a tenant at a time: what comes meanwhile merges and is the
 * next call. What Redis does not take is kept, and everybody waits a little before the next attempt.
 *
 * While Redis is away it grows by an id for each charge that ends and each reserve that was not answered, never by a
 * repetition; nothing of it is dropped, because a hold that is never released is money held for ever. What a rebuild has
 * made obsolete changes nothing when it arrives.
 */
@Injectable()
export class ProjectionQueue {
  private readonly logger = new Logger(ProjectionQueue.name);
  private readonly waiting = new Map<string, TenantWork>();
  private readonly underWay = new Map<string, TenantWork>();
  private readonly idleWaiters = new Set<() => void>();
  private isScheduled = false;
  private isPausing = false;
  private isBehind = false;

  constructor(@Inject(QUOTA_STORE) private readonly store: QuotaStore) {}

  /** Holds of which the projection has not confirmed that they ended. */
  get depth(): number {
    let depth = 0;
    for (const works of [this.waiting, this.underWay]) {
      for (const { settled, released } of works.values()) depth += settled.size + released.size;
    }
    return depth;
  }

  /** Whether the projection has confirmed everything. */
  get isIdle(): boolean {
    return this.waiting.size === 0 && this.underWay.size === 0;
  }

  settle(tenantId: string, holdId: string, posted: PostedBalance): void {
    const work = this.of(tenantId);
    work.settled.add(holdId);
    work.posted = newer(work.posted, posted);
    this.schedule();
  }

  release(tenantId: string, holdId: string): void {
    this.of(tenantId).released.add(holdId);
    this.schedule();
  }

  /** Answers true as soon as the projection has confirmed everything, false where it has not within `withinMs`. */
  async drain(withinMs: number): Promise<boolean> {
    if (this.isIdle) return true;
    let timer: NodeJS.Timeout | undefined;
    let wake: () => void = () => undefined;
    await new Promise<void>((resolve) => {
      wake = resolve;
      this.idleWaiters.add(wake);
      timer = setTimeout(resolve, withinMs);
    });
    clearTimeout(timer);
    this.idleWaiters.delete(wake);
    return this.isIdle;
  }

  private of(tenantId: string): TenantWork {
    let work = this.waiting.get(tenantId);
    if (!work) {
      work = { settled: new Set(), posted: undefined, released: new Set() };
      this.waiting.set(tenantId, work);
    }
    return work;
  }

  private schedule(): void {
    if (this.isScheduled || this.isPausing) return;
    this.isScheduled = true;
    setImmediate(() => {
      this.isScheduled = false;
      this.flush();
    });
  }

  private flush(): void {
    if (this.isPausing) return;
    for (const [tenantId, work] of this.waiting) {
      if (this.underWay.size >= MAX_CALLS) return;
      if (this.underWay.has(tenantId)) continue;
      this.waiting.delete(tenantId);
      this.underWay.set(tenantId, work);
      void this.apply(tenantId, work);
    }
  }

  private async apply(tenantId: string, work: TenantWork): Promise<void> {
    try {
      const { posted } = work;
      if (posted) await inParts(work.settled, (ids) => this.store.settle(tenantId, ids, posted));
      await inParts(work.released, (ids) => this.store.release(tenantId, ids));
      this.underWay.delete(tenantId);
      this.confirmed();
    } catch (error) {
      this.underWay.delete(tenantId);
      this.keep(tenantId, work, error);
    }
  }

  private confirmed(): void {
    if (this.waiting.size > 0) this.schedule();
    if (!this.isIdle) return;
    if (this.isBehind) this.logger.log('the projection has caught up');
    this.isBehind = false;
    for (const wake of this.idleWaiters) wake();
  }

  /** Puts work back; sending it twice is harmless, because an unknown hold changes nothing. */
  private keep(tenantId: string, work: TenantWork, error: unknown): void {
    const waiting = this.of(tenantId);
    for (const holdId of work.settled) waiting.settled.add(holdId);
    for (const holdId of work.released) waiting.released.add(holdId);
    if (work.posted) waiting.posted = newer(waiting.posted, work.posted);
    if (!this.isBehind) {
      this.logger.warn(`the projection is behind: ${messageOf(error)}`);
    }
    this.isBehind = true;
    if (this.isPausing) return;
    this.isPausing = true;
    setTimeout(() => {
      this.isPausing = false;
      this.flush();
    }, RETRY_MS).unref();
  }
}

/** Takes out of `ids` what `tell` has told, so that an attempt that fails midway goes on where it stood. */
async function inParts(ids: Set<string>, tell: (part: readonly string[]) => Promise<void>): Promise<void> {
  while (ids.size > 0) {
    const part: string[] = [];
    for (const holdId of ids) if (part.push(holdId) >= MAX_IDS) break;
    await tell(part);
    for (const holdId of part) ids.delete(holdId);
  }
}

function newer(a: PostedBalance | undefined, b: PostedBalance): PostedBalance {
  return a && a.version > b.version ? a : b;
}
