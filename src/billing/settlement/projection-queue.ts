import { Inject, Injectable, Logger } from '@nestjs/common';
import { type EndedHold, QUOTA_STORE, type PostedBalance, type QuotaStore } from '../../quota/quota-store.port';
import { messageOf } from '../../kernel/error-message';

/** What one tenant's projection has not been told yet. A set: a hold released twice while it waits is one release. */
interface TenantWork {
  /** By hold. */
  readonly settled: Map<string, EndedHold>;
  posted: PostedBalance | undefined;
  readonly released: Set<string>;
}

const RETRY_MS = 100;
/** Hold ids in one script call: its work is bounded. */
const MAX_IDS = 500;
/** Calls under way at once, each for another tenant. */
const MAX_CALLS = 64;
/** Holds that may wait; beyond it each caller tells the projection itself, and no new charge begins. */
const MAX_DEPTH = 50_000;

/**
 * Tells the projection what the ledger has committed. One call a tenant at a time: what comes meanwhile merges and is the
 * next call. What Redis does not take is kept, and everybody waits a little before the next attempt.
 *
 * While Redis is away it grows by an id for each charge that ends and each reserve that was not answered, never by a
 * repetition; nothing of it is dropped, because a hold that is never released is money held for ever. It is bounded all
 * the same: where it is full, who ends a charge tells the projection before going on, and no new charge begins, so it can
 * outgrow its bound only by the charges that were open then. What a rebuild has made obsolete changes nothing when it
 * arrives.
 *
 * No tenant fills it for the others: the store takes the endings of a projection that no script can work on, by discarding
 * it, so that what waits here waits for a server.
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
  private size = 0;

  constructor(@Inject(QUOTA_STORE) private readonly store: QuotaStore) {}

  /** Holds of which the projection has not confirmed that they ended. */
  get depth(): number {
    return this.size;
  }

  /** Whether the projection has confirmed everything. */
  get isIdle(): boolean {
    return this.waiting.size === 0 && this.underWay.size === 0;
  }

  /** Whether it takes no more than it must. */
  get isFull(): boolean {
    return this.size >= MAX_DEPTH;
  }

  /** Where it is full, resolves when the projection has been told, or was away and is told later. */
  settle(tenantId: string, ended: EndedHold, posted: PostedBalance): Promise<void> | undefined {
    if (!this.isFull) {
      this.queue(tenantId, ended, posted);
      return undefined;
    }
    return this.store.settle(tenantId, [ended], posted).catch(() => {
      this.queue(tenantId, ended, posted);
    });
  }

  /** Of a balance that changed by no charge: a recharge, an adjustment, a refund, a correction. */
  tell(tenantId: string, posted: PostedBalance): void {
    const work = this.of(tenantId);
    work.posted = newer(work.posted, posted);
    this.schedule();
  }

  release(tenantId: string, holdId: string): void {
    const { released } = this.of(tenantId);
    if (!released.has(holdId)) this.size += 1;
    released.add(holdId);
    this.schedule();
  }

  /** Of a hold whose release is on its way: releasing it twice changes nothing. Resolves also where the projection is away. */
  async releaseNow(tenantId: string, holdId: string): Promise<void> {
    await this.store.release(tenantId, [holdId]).catch(() => undefined);
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

  private queue(tenantId: string, ended: EndedHold, posted: PostedBalance): void {
    const work = this.of(tenantId);
    if (!work.settled.has(ended.holdId)) this.size += 1;
    work.settled.set(ended.holdId, ended);
    work.posted = newer(work.posted, posted);
    this.schedule();
  }

  private of(tenantId: string): TenantWork {
    let work = this.waiting.get(tenantId);
    if (!work) {
      work = { settled: new Map(), posted: undefined, released: new Set() };
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
      if (posted) await this.settleAll(tenantId, work.settled, posted);
      await this.releaseAll(tenantId, work.released);
      this.underWay.delete(tenantId);
      this.confirmed();
    } catch (error) {
      this.underWay.delete(tenantId);
      this.keep(tenantId, work, error);
    }
  }

  /** In parts, each forgotten once it is told, so that an attempt that fails midway goes on where it stood. */
  private async settleAll(tenantId: string, settled: Map<string, EndedHold>, posted: PostedBalance): Promise<void> {
    do {
      const part = firstOf(settled.values());
      await this.store.settle(tenantId, part, posted);
      for (const { holdId } of part) settled.delete(holdId);
      this.size -= part.length;
    } while (settled.size > 0);
  }

  private async releaseAll(tenantId: string, released: Set<string>): Promise<void> {
    while (released.size > 0) {
      const part = firstOf(released);
      await this.store.release(tenantId, part);
      for (const holdId of part) released.delete(holdId);
      this.size -= part.length;
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
    for (const ended of work.settled.values()) {
      if (waiting.settled.has(ended.holdId)) this.size -= 1;
      waiting.settled.set(ended.holdId, ended);
    }
    for (const holdId of work.released) {
      if (waiting.released.has(holdId)) this.size -= 1;
      waiting.released.add(holdId);
    }
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

function firstOf<T>(all: Iterable<T>): T[] {
  const part: T[] = [];
  for (const one of all) if (part.push(one) >= MAX_IDS) break;
  return part;
}

function newer(a: PostedBalance | undefined, b: PostedBalance): PostedBalance {
  return a && a.version > b.version ? a : b;
}
