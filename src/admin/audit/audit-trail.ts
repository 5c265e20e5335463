import type { EntityManager } from 'typeorm';

export type AuditAction =
  'create' | 'update' | 'delete' | 'close' | 'revoke' | 'adjust' | 'refund' | 'apply' | 'rebuild' | 'test';
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
  'model_alias',
  'model_fallback',
  'affinity',
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
export function audit(manager: EntityManager, write: AuditedWrite): Promise<void> {
  return auditAll(manager, [write]);
}

/** Many, in one statement and in their order. */
export async function auditAll(manager: EntityManager, writes: readonly AuditedWrite[]): Promise<void> {
  const rows = writes.map(({ actor, action, entity, entityId, before, after }) => {
    return { actor, action: `${entity}.${action}`, entity, entity_id: entityId, before, after };
  });
  await manager.query(
    `insert into audit_log (actor, action, entity, entity_id, before, after)
       select actor, action, entity, entity_id, before, after
         from rows from (jsonb_to_recordset($1::jsonb)
           as (actor text, action text, entity text, entity_id text, before jsonb, after jsonb)) with ordinality
        order by ordinality`,
    [JSON.stringify(rows)],
  );
}
