import type { Redis } from 'ioredis';
import { quotaKey } from '../../src/quota/quota-keys';

/** What a counter of the tenant's projection has in its newest window; undefined where the projection has not met it. */
export async function usedIn(redis: Redis, tenantId: string, counter: string): Promise<string | undefined> {
  const text = await redis.hget(quotaKey(tenantId), `c:${counter}`);
  return text?.split(':')[2];
}
