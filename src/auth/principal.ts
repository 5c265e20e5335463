import type { CallerLimits } from '../quota/scopes/caller-limits';

/** What a tenant's calls to a model without a price do: refused, or served free. */
export type UnknownPricePolicy = 'reject' | 'free';

/** Who calls: everything the hot path needs to know of the key and its tenant, frozen at the time of the lookup. */
export interface Principal {
  readonly tenantId: string;
  readonly apiKeyId: string;
  readonly apiKeyName: string;
  /** Models this key may ask for; null is every model. */
  readonly allowedModels: ReadonlySet<string> | null;
  readonly limits: CallerLimits;
  readonly unknownPricePolicy: UnknownPricePolicy;
  /** Of the key's group; a million, which is once, where it has none. */
  readonly priceMultiplierMillionths: bigint;
}
