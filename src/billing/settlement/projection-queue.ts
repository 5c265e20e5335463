import { Inject, Injectable, Logger } from '@nestjs/common';
import { QUOTA_STORE, type PostedBalance, type QuotaStore } from '../../quota/quota-store.port';

interface TenantWork {
  settled: string[];
  posted: PostedBalance | undefined;
  released: string[];
}

const RETRY_MS = 100;
/** Hold ids in one script call: its work is bounded. */
const MAX_IDS = 500;

/**
 * Tells the projection what the ledger has committed. Calls of one tenant merge while they wait; what Redis does not
 * take is kept and sent again. Bounded by the charges that were open: while Redis is away nothing new is admitted, and
 * what a rebuild has made obsolete changes nothing when it arrives.
 */
@Injectable()
export class ProjectionQueue {
  private readonly logger = new Logger(ProjectionQueue.name);
  private work = new Map<string, TenantWork>();
  private isScheduled = false;
  private isRetrying = false;
  private running = 0;

  constructor(@Inject(QUOTA_STORE) private readonly store: QuotaStore) {}

  /** Holds waiting for the projection to learn that they ended. */
  get depth(): number {
    let depth = 0;
    for (const tenant of this.work.values()) depth += tenant.settled.length + tenant.released.length;
    return depth;
  }

  settle(tenantId: string, holdId: string, posted: PostedBalance): void {
    const tenant = this.of(tenantId);
    tenant.settled.push(holdId);
    tenant.posted = newer(tenant.posted, posted);
    this.schedule();
  }

  release(tenantId: string, holdId: string): void {
    this.of(tenantId).released.push(holdId);
    this.schedule();
  }

  /** Resolves when the projection knows everything, or after `withinMs`: what it misses then, a rebuild brings. */
  async drain(withinMs: number): Promise<void> {
    const deadline = performance.now() + withinMs;
    while ((this.work.size > 0 || this.running > 0) && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  private of(tenantId: string): TenantWork {
    let tenant = this.work.get(tenantId);
    if (!tenant) {
      tenant = { settled: [], posted: undefined, released: [] };
      this.work.set(tenantId, tenant);
    }
    return tenant;
  }

  private schedule(): void {
    if (this.isScheduled || this.isRetrying) return;
    this.isScheduled = true;
    setImmediate(() => {
      this.isScheduled = false;
      this.flush();
    });
  }

  private flush(): void {
    const batch = this.work;
    this.work = new Map();
    for (const [tenantId, tenant] of batch) void this.apply(tenantId, tenant);
  }

  private async apply(tenantId: string, tenant: TenantWork): Promise<void> {
    this.running += 1;
    try {
      for (let at = 0; at < tenant.settled.length && tenant.posted; at += MAX_IDS) {
        await this.store.settle(tenantId, tenant.settled.slice(at, at + MAX_IDS), tenant.posted);
      }
      for (let at = 0; at < tenant.released.length; at += MAX_IDS) {
        await this.store.release(tenantId, tenant.released.slice(at, at + MAX_IDS));
      }
    } catch (error) {
      this.keep(tenantId, tenant, error);
    } finally {
      this.running -= 1;
    }
  }

  /** Puts work back; sending it twice is harmless, because an unknown hold changes nothing. */
  private keep(tenantId: string, tenant: TenantWork, error: unknown): void {
    const waiting = this.of(tenantId);
    waiting.settled.push(...tenant.settled);
    waiting.released.push(...tenant.released);
    if (tenant.posted) waiting.posted = newer(waiting.posted, tenant.posted);
    if (this.isRetrying) return;
    this.isRetrying = true;
    this.logger.warn(`the projection is behind: ${error instanceof Error ? error.message : String(error)}`);
    setTimeout(() => {
      this.isRetrying = false;
      this.flush();
    }, RETRY_MS).unref();
  }
}

function newer(a: PostedBalance | undefined, b: PostedBalance): PostedBalance {
  return a && a.version > b.version ? a : b;
}
