import { type AdminAccess, adminCall, textField } from './admin-client';

let made = 0;

/** Returns the tenant's id. Fields are those of `POST /admin/v1/tenants`; amounts are decimal US dollars in text. */
export async function createTenant(access: AdminAccess, fields: object = {}): Promise<string> {
  made += 1;
  const body = { name: `tenant ${process.pid}-${made}`, initial_balance_usd: '10', ...fields };
  return textField(await adminCall(access, 'POST', 'tenants', body), 'id');
}

export interface CreatedKey {
  readonly id: string;
  /** `sk-tg-…`: shown this once. */
  readonly key: string;
}

export async function createApiKey(access: AdminAccess, tenantId: string, fields: object = {}): Promise<CreatedKey> {
  const answer = await adminCall(access, 'POST', `tenants/${tenantId}/api-keys`, { name: 'test key', ...fields });
  return { id: textField(answer, 'id'), key: textField(answer, 'key') };
}
