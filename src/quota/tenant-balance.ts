import type { Pool, PoolClient } from 'pg';

/** What a tenant can spend before credit (wallet and promo together), and after how many changes of either. */
export interface TenantBalanceRow {
  readonly posted_nano_usd: string;
  readonly version: string;
}

/** Throws where the tenant has no accounts. */
export async function tenantBalance(database: Pool | PoolClient, tenantId: string): Promise<TenantBalanceRow> {
  const { rows } = await database.query<TenantBalanceRow>(
    `select posted_nano_usd, version from tenant_balance where tenant_id = $1`,
    [tenantId],
  );
  const [balance] = rows;
  if (!balance) throw new Error(`tenant ${tenantId} has no wallet`);
  return balance;
}
