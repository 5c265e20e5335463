import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm';

/** What of an entity the audit log keeps: JSON, money as decimal USD strings, secrets never. */
export type AuditedState = Readonly<Record<string, unknown>>;

/** One write of the control plane; written in the transaction of that write. */
@Entity({ name: 'audit_log' })
export class AuditLog {
  @PrimaryGeneratedColumn('identity', { type: 'bigint' })
  id!: string;

  @Column('text')
  actor!: string;

  /** Such as `tenant.create`. */
  @Column('text')
  action!: string;

  @Column('text')
  entity!: string;

  @Column({ name: 'entity_id', type: 'text' })
  entityId!: string;

  @Column({ type: 'jsonb', nullable: true })
  before!: AuditedState | null;

  @Column({ type: 'jsonb', nullable: true })
  after!: AuditedState | null;

  @Column({ type: 'timestamptz', insert: false, update: false })
  at!: Date;
}
