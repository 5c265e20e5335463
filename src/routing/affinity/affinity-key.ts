import { createHash } from 'node:crypto';

/** What a session is known by. */
export interface AffinitySession {
  readonly tenantId: string;
  /** The client's name of the conversation: any text. */
  readonly sessionId: string;
  /** That is served; an alias is none. */
  readonly model: string;
  /** Calls that may only be served in a region choose for themselves. */
  readonly region: string | undefined;
}

/**
 * One key a session and model, in the slot of all keys of the tenant. A digest, because clients' names are of any length
 * and nobody's to read in a list of keys.
 */
export function affinityKey({ tenantId, sessionId, model, region = '' }: AffinitySession): string {
  const digest = createHash('sha256')
    .update(JSON.stringify([sessionId, model, region]))
    .digest('base64url');
  return `tg:{${tenantId}}:affinity:${digest}`;
}
