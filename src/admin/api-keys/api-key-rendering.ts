import type { ApiKey } from '../../auth/api-key.entity';
import type { KeyLimits } from '../../quota/scopes/caller-limits';
import { renderLimit } from '../limits/usd-limits';
import type { ApiKeyDto } from './api-key.dto';

export function renderKey(row: ApiKey): Readonly<ApiKeyDto> {
  return {
    id: row.id,
    object: 'api_key',
    tenant_id: row.tenantId,
    name: row.name,
    hint: row.hint,
    allowed_models: row.allowedModels,
    expires_at: row.expiresAt?.toISOString() ?? null,
    revoked_at: row.revokedAt?.toISOString() ?? null,
    budget_usd: renderLimit(row.budgetNanoUsd),
    limit_5h_usd: renderLimit(row.limit5hNanoUsd),
    limit_1d_usd: renderLimit(row.limit1dNanoUsd),
    limit_7d_usd: renderLimit(row.limit7dNanoUsd),
    user_id: row.userId,
    group_id: row.groupId,
    created_at: row.createdAt.toISOString(),
    updated_at: row.updatedAt.toISOString(),
  };
}

/** The key's own limits as a reservation meets them. */
export function keyLimits(row: ApiKey): KeyLimits {
  return {
    apiKeyId: row.id,
    budget: row.budgetNanoUsd,
    usd5h: row.limit5hNanoUsd,
    usd1d: row.limit1dNanoUsd,
    usd7d: row.limit7dNanoUsd,
  };
}
