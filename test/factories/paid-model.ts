import { type AdminAccess } from './admin-client';
import { createApiKey, createTenant } from './tenants';
import { createPrice, createProvider, createUpstream } from './upstreams';

export interface PaidModel {
  readonly model: string;
  readonly tenantId: string;
  readonly key: string;
  readonly keyId: string;
  readonly providerId: string;
  readonly upstreamId: string;
}

/** What one paid call needs: a provider at the base URL, a priced model, a tenant with money and a key. */
export async function createPaidModel(
  access: AdminAccess,
  options: { baseUrl: string; model?: string; upstream?: object; tenant?: object; price?: object },
): Promise<PaidModel> {
  const model = options.model ?? 'test-model';
  const providerId = await createProvider(access, { base_url: options.baseUrl });
  const upstreamId = await createUpstream(access, { provider_id: providerId, model, ...options.upstream });
  await createPrice(access, { model, ...options.price });
  const tenantId = await createTenant(access, options.tenant);
  const { id: keyId, key } = await createApiKey(access, tenantId);
  return { model, tenantId, key, keyId, providerId, upstreamId };
}
