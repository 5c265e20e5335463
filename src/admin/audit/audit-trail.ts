import type { EntityManager } from 'typeorm';

export type AuditAction =
  'create' | 'update' | 'delete' | 'close' | 'revoke' | 'adjust' | 'refund' | 'apply' | 'rebuild';
export const AUDITED_ENTITIES = [
  'tenant',
  'api_key',
  'user',
  'group',
  'rpm_override',
  'user_platform_quota',
  'subscription',
  'provider',
  'upstream',
  'price',
  'quota_authority',
  'transaction',
  're_rating',
] as const;
export type AuditedEntity = (typeof AUDITED_ENTITIES)[number];

export interface AuditedWrite {
  readonly actor: string;
  readonly action: AuditAction;
  readonly entity: AuditedEntity;
  readonly entityId: string;
  /** As the API shows it: what the API never shows is never written here. */
  readonly before?: object | undefined;
  readonly after?: object | undefined;
}

/** Records a write in its own transaction: both stand or neither does. */
export async function audit(manager: EntityManager, write: AuditedWrite): Promise<void> {
  await manager.query(
    `insert into audit_log (actor, action, entity, entity_id, before, after) values ($1, $2, $3, $4, $5, $6)`,
    [
      write.actor,
      `${write.entity}.${write.action}`,
      write.entity,
      write.entityId,
      write.before ?? null,
      write.after ?? null,
    ],
  );
}
