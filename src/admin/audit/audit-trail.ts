import type { EntityManager } from 'typeorm';
import { AuditLog, type AuditedState } from './audit-log.entity';

export type AuditAction = 'create' | 'update' | 'delete' | 'close' | 'revoke' | 'adjust';
export type AuditedEntity = 'tenant' | 'api_key' | 'provider' | 'upstream' | 'price';

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
  await manager.insert(AuditLog, {
    actor: write.actor,
    action: `${write.entity}.${write.action}`,
    entity: write.entity,
    entityId: write.entityId,
    before: stateOf(write.before),
    after: stateOf(write.after),
  });
}

function stateOf(shown: object | undefined): AuditedState | null {
  return shown ? { ...shown } : null;
}
