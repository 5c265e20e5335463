/** Redis keys of quota. Every key of a tenant carries its id as hash tag, so that all lie in one cluster slot. */
export function quotaKey(tenantId: string): string {
  return `tg:{${tenantId}}:quota`;
}

export function holdsKey(tenantId: string): string {
  return `tg:{${tenantId}}:holds`;
}

/** Set of tenants in which a process may have holds: where the sweeper looks when that process died. */
export function tenantsOfProcessKey(processId: string): string {
  return `tg:process:{${processId}}:tenants`;
}
