import { Column, CreateDateColumn, Entity, PrimaryColumn, UpdateDateColumn } from 'typeorm';
import { CountLimitColumn } from './limit.columns';

export const USER_STATUSES = ['active', 'suspended'] as const;
export type UserStatus = (typeof USER_STATUSES)[number];

/** Whom keys of a tenant are given to. */
@Entity({ name: 'tenant_user' })
export class TenantUser {
  @PrimaryColumn('uuid')
  id!: string;

  @Column({ name: 'tenant_id', type: 'uuid' })
  tenantId!: string;

  @Column('text')
  name!: string;

  /** What the tenant itself calls the user; unique within the tenant. */
  @Column({ name: 'external_id', type: 'text', nullable: true })
  externalId!: string | null;

  /** A suspended user's keys are refused. */
  @Column('text')
  status!: UserStatus;

  /** Requests in 60 seconds, whatever group and override say. */
  @CountLimitColumn('rpm_limit')
  rpmLimit!: number | null;

  @CreateDateColumn({ name: 'created_at', type: 'timestamptz' })
  createdAt!: Date;

  @UpdateDateColumn({ name: 'updated_at', type: 'timestamptz' })
  updatedAt!: Date;
}
