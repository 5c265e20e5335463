import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { Pool } from 'undici';
import { BaseUrlPolicy } from './base-url-policy';

/**
 * undici looks for an idle connection by walking all of a pool's, so a provider's connections are spread over several
 * pools: thousands of open streams do not slow the next call down.
 */
const CONNECTIONS_PER_POOL = 256;
const POOLS_PER_PROVIDER = 64;
const MAX_PROVIDERS = 1024;
const CONNECT_TIMEOUT_MS = 10_000;
/** How long an idle connection is kept where the provider names no time of its own. */
const KEEP_ALIVE_MS = 15_000;
const MAX_HEADER_BYTES = 65_536;

/** A place in a pool, taken by acquire; the holder counts `inFlight` down once, when its call has ended. */
export interface PoolLease {
  readonly pool: Pool;
  inFlight: number;
}

interface ProviderPools {
  readonly origin: string;
  readonly leases: PoolLease[];
}

/**
 * Connections to providers, kept alive between calls. A provider whose origin changed gets new ones; the old ones close
 * as their calls end. Bounded by connections a provider and by providers (the least recently used goes).
 */
@Injectable()
export class UpstreamPools implements OnApplicationShutdown {
  private readonly providers = new LRUCache<string, ProviderPools>({
    max: MAX_PROVIDERS,
    dispose: (pools) => {
      this.closeGently(pools);
    },
  });
  private readonly closing = new Set<Pool>();
  private isShutDown = false;

  constructor(private readonly policy: BaseUrlPolicy) {}

  /** Undefined when the provider has all the connections it may have, or the process shuts down. */
  acquire(providerId: string, origin: string): PoolLease | undefined {
    if (this.isShutDown) return undefined;
    let provider = this.providers.get(providerId);
    if (provider?.origin !== origin) {
      provider = { origin, leases: [] };
      this.providers.set(providerId, provider);
    }
    let free = provider.leases.find((lease) => lease.inFlight < CONNECTIONS_PER_POOL);
    if (!free) {
      if (provider.leases.length === POOLS_PER_PROVIDER) return undefined;
      free = { pool: this.open(origin), inFlight: 0 };
      provider.leases.push(free);
    }
    free.inFlight += 1;
    return free;
  }

  /** Breaks what is still open: by then the gateway has drained its calls. */
  async onApplicationShutdown(): Promise<void> {
    this.isShutDown = true;
    this.providers.clear();
    await Promise.all([...this.closing].map((pool) => pool.destroy()));
  }

  private open(origin: string): Pool {
    return new Pool(origin, {
      connect: this.policy.connector(CONNECT_TIMEOUT_MS),
      keepAliveTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
      pipelining: 1,
      allowH2: false,
      // HttpCall keeps the deadlines: undici knows no paused time and no total.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }

  private closeGently(pools: ProviderPools): void {
    for (const { pool } of pools.leases) {
      this.closing.add(pool);
      // Ends when its last call has; a pool that is destroyed meanwhile has nothing left to close.
      pool
        .close()
        .catch(() => undefined)
        .finally(() => this.closing.delete(pool));
    }
  }
}
