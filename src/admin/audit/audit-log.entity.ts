import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm';

/**
 * One write of the control plane; written in the transaction of that write. `before` and `after` are the entity as the
 * API shows it: money as decimal USD strings, secrets never.
 */
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
  before!: unknown;

  @Column({ type: 'jsonb', nullable: true })
  after!: unknown;

  @Column({ type: 'timestamptz', insert: false, update: false })
  at!: Date;
}
