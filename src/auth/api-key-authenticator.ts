import { timingSafeEqual } from 'node:crypto';
import { Inject, Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import { CLOCK, type Clock } from '../kernel/clock';
import { type Refusal, refuse } from '../kernel/errors';
import { ChangeFeed } from '../platform/database/change-feed';
import { ApiKeyCache } from './api-key-cache';
import { ApiKeyHasher } from './api-key-hasher';
import { ApiKeyLookup } from './api-key-lookup';
import type { ApiKeyRecord } from './api-key-record';
import { type CredentialHeaders, extractApiKey } from './credentials';
import type { Principal } from './principal';

const UNKNOWN_KEY = refuse('INVALID_API_KEY');
const EXPIRED_KEY = refuse('API_KEY_EXPIRED');
const CANNOT_ASK = refuse('BILLING_SERVICE_ERROR', { retryAfterMs: 1_000 });

/** Whose changes change what the keys of a tenant may do; the trigger of each names the tenant. */
const TABLES_OF_TENANT = [
  'tenant',
  'ledger_account',
  'tenant_user',
  'tenant_group',
  'group_rpm_override',
  'user_platform_quota',
  'subscription',
  'free_allowance',
] as const;

/**
 * Who is calling. Answers from memory, without a promise, while the change feed tells this process of every change; a
 * revoked key is therefore refused as soon as the change arrives. While the feed is away memory is not trusted: each
 * call asks Postgres, and what it says is not kept.
 */
@Injectable()
export class ApiKeyAuthenticator implements OnModuleInit {
  private readonly logger = new Logger(ApiKeyAuthenticator.name);
  private readonly cache: ApiKeyCache;
  /** Counts changes: what was read before one of them is not kept after it. */
  private changes = 0;
  private isFailing = false;

  constructor(
    private readonly hasher: ApiKeyHasher,
    private readonly lookup: ApiKeyLookup,
    private readonly feed: ChangeFeed,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {
    this.cache = new ApiKeyCache(() => clock.monotonicMs());
  }

  onModuleInit(): void {
    const lost = (): void => {
      this.changes += 1;
      this.cache.clear();
    };
    const tenantChanged = (tenantId: string): void => {
      this.tenantChanged(tenantId);
    };
    this.feed.subscribe('api_key', {
      changed: (apiKeyId) => {
        this.keyChanged(apiKeyId);
      },
      lost,
    });
    for (const table of TABLES_OF_TENANT) this.feed.subscribe(table, { changed: tenantChanged, lost });
  }

  /** Also for who just committed a change and wants it obeyed here at once, without waiting for the feed. */
  keyChanged(apiKeyId: string): void {
    this.changes += 1;
    this.cache.forgetKey(apiKeyId);
  }

  /** As keyChanged, for every key of a tenant. */
  tenantChanged(tenantId: string): void {
    this.changes += 1;
    this.cache.forgetTenant(tenantId);
  }

  authenticate(headers: CredentialHeaders): Principal | Refusal | Promise<Principal | Refusal> {
    const key = extractApiKey(headers);
    if (key === undefined) return UNKNOWN_KEY;
    const digest = this.hasher.digestOf(key);
    const cacheKey = digest.toString('latin1');
    if (this.feed.isLive) {
      const record = this.cache.find(cacheKey);
      const nowMs = this.clock.nowMs();
      if (record && nowMs < record.staleAtMs) return this.judge(record, digest, nowMs);
      if (this.cache.isKnownToBeUnknown(cacheKey)) return UNKNOWN_KEY;
    }
    return this.ask(cacheKey, digest);
  }

  private async ask(cacheKey: string, digest: Buffer): Promise<Principal | Refusal> {
    const wasLive = this.feed.isLive;
    const changesBefore = this.changes;
    let record: ApiKeyRecord | undefined;
    try {
      record = await this.lookup.find(digest);
    } catch (error) {
      this.reportFailure(error);
      return CANNOT_ASK;
    }
    this.isFailing = false;
    if (wasLive && changesBefore === this.changes) this.cache.remember(cacheKey, record);
    return record ? this.judge(record, digest, this.clock.nowMs()) : UNKNOWN_KEY;
  }

  private judge(record: ApiKeyRecord, digest: Buffer, nowMs: number): Principal | Refusal {
    if (!timingSafeEqual(record.digest, digest)) return UNKNOWN_KEY;
    if (record.refusal) return record.refusal;
    return nowMs < record.expiresAtMs ? record.principal : EXPIRED_KEY;
  }

  /** Once until a look-up succeeds again: an outage must not write a line for each refused call. */
  private reportFailure(error: unknown): void {
    if (!this.isFailing) this.logger.error(`keys cannot be looked up: ${String(error)}`);
    this.isFailing = true;
  }
}
