import type { EntityManager } from 'typeorm';
import { ApiKey } from '../../auth/api-key.entity';
import { Subscription } from '../../auth/subscription.entity';
import { TenantGroup } from '../../auth/tenant-group.entity';
import { TenantUser } from '../../auth/tenant-user.entity';
import { Tenant } from '../../auth/tenant.entity';
import { conflict, invalid, notFound } from '../refusals';

const LOCK = { mode: 'pessimistic_read' } as const;

/** Locked against a closing under way: nothing appears in a tenant after it. `param` is where the id came from. */
export async function requireOpenTenant(
  manager: EntityManager,
  id: string,
  param: 'id' | 'tenant_id' | 'user_id' | 'group_id',
): Promise<void> {
  const tenant = await manager.findOne(Tenant, { where: { id }, lock: LOCK });
  if (!tenant) throw param === 'id' ? notFound('tenant') : invalid(param, 'there is no such tenant');
  if (tenant.status === 'closed') throw conflict(param, 'the tenant is closed');
}

/** Locked against a deletion under way. Another tenant's does not exist; without a tenant, any does. */
export async function requireUser(
  manager: EntityManager,
  { id, tenantId }: { readonly id: string; readonly tenantId?: string },
): Promise<TenantUser> {
  const where = { id, ...(tenantId === undefined ? {} : { tenantId }) };
  const user = await manager.findOne(TenantUser, { where, lock: LOCK });
  if (!user) throw invalid('user_id', tenantId === undefined ? 'there is no such user' : 'the tenant has no such user');
  return user;
}

/** As requireUser. */
export async function requireGroup(
  manager: EntityManager,
  { id, tenantId }: { readonly id: string; readonly tenantId?: string },
): Promise<TenantGroup> {
  const where = { id, ...(tenantId === undefined ? {} : { tenantId }) };
  const group = await manager.findOne(TenantGroup, { where, lock: LOCK });
  if (!group) {
    throw invalid('group_id', tenantId === undefined ? 'there is no such group' : 'the tenant has no such group');
  }
  return group;
}

/** What a key or a subscription names stays: a key would else change whose it is, or who pays for it. */
export async function refuseWhereNamed(
  manager: EntityManager,
  what: 'user' | 'group',
  { id, tenantId }: { readonly id: string; readonly tenantId: string },
): Promise<void> {
  const where = what === 'user' ? { tenantId, userId: id } : { tenantId, groupId: id };
  const keys = await manager.countBy(ApiKey, where);
  if (keys > 0) {
    throw conflict(
      'id',
      `${keys} API ${keys === 1 ? 'key names' : 'keys name'} the ${what}: change or delete them first`,
    );
  }
  if (await manager.existsBy(Subscription, where)) {
    throw conflict('id', `a subscription names the ${what}, and subscriptions are kept for ever`);
  }
}
