import { LRUCache } from 'lru-cache';
import type { ApiKeyRecord } from './api-key-record';

const MAX_KNOWN = 100_000;
const MAX_UNKNOWN = 10_000;
/** A key nobody knows is asked for again after this time, even where no change was announced. */
const UNKNOWN_TTL_MS = 5_000;

/**
 * Keys in memory, by full digest; bounded, the least recently used leave first. Keys that do not exist are remembered
 * too, apart and for a short time, so that whoever guesses keys neither reaches Postgres each time nor pushes out real ones.
 */
export class ApiKeyCache {
  private readonly keysOfTenant = new Map<string, Set<string>>();
  private readonly cacheKeyOf = new Map<string, string>();
  private readonly known: LRUCache<string, ApiKeyRecord>;
  private readonly unknown: LRUCache<string, true>;

  constructor(monotonicMs: () => number) {
    this.known = new LRUCache({
      max: MAX_KNOWN,
      dispose: (record, cacheKey) => {
        this.unindex(record, cacheKey);
      },
    });
    this.unknown = new LRUCache({ max: MAX_UNKNOWN, ttl: UNKNOWN_TTL_MS, perf: { now: monotonicMs } });
  }

  find(cacheKey: string): ApiKeyRecord | undefined {
    return this.known.get(cacheKey);
  }

  isKnownToBeUnknown(cacheKey: string): boolean {
    return this.unknown.has(cacheKey);
  }

  remember(cacheKey: string, record: ApiKeyRecord | undefined): void {
    if (!record) {
      this.unknown.set(cacheKey, true);
      return;
    }
    this.known.set(cacheKey, record);
    const { tenantId, apiKeyId } = record.principal;
    this.cacheKeyOf.set(apiKeyId, cacheKey);
    const ofTenant = this.keysOfTenant.get(tenantId);
    if (ofTenant) ofTenant.add(cacheKey);
    else this.keysOfTenant.set(tenantId, new Set([cacheKey]));
  }

  /** The key may also be a new one, which somebody tried before it existed: unknown keys are asked for again. */
  forgetKey(apiKeyId: string): void {
    const cacheKey = this.cacheKeyOf.get(apiKeyId);
    if (cacheKey !== undefined) this.known.delete(cacheKey);
    this.unknown.clear();
  }

  forgetTenant(tenantId: string): void {
    for (const cacheKey of [...(this.keysOfTenant.get(tenantId) ?? [])]) this.known.delete(cacheKey);
  }

  clear(): void {
    this.known.clear();
    this.unknown.clear();
  }

  get size(): { readonly known: number; readonly unknown: number } {
    return { known: this.known.size, unknown: this.unknown.size };
  }

  private unindex(record: ApiKeyRecord, cacheKey: string): void {
    const { tenantId, apiKeyId } = record.principal;
    this.cacheKeyOf.delete(apiKeyId);
    const ofTenant = this.keysOfTenant.get(tenantId);
    ofTenant?.delete(cacheKey);
    if (ofTenant?.size === 0) this.keysOfTenant.delete(tenantId);
  }
}
