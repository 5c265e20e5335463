import { Column, CreateDateColumn, Entity, PrimaryColumn, UpdateDateColumn, type ValueTransformer } from 'typeorm';

const count: ValueTransformer = { to: (value: number) => value, from: (value: string) => Number(value) };

/** One user's own rate in one group, instead of the group's. */
@Entity({ name: 'group_rpm_override' })
export class GroupRpmOverride {
  @PrimaryColumn({ name: 'group_id', type: 'uuid' })
  groupId!: string;

  @PrimaryColumn({ name: 'user_id', type: 'uuid' })
  userId!: string;

  /** Of group and user both. */
  @Column({ name: 'tenant_id', type: 'uuid' })
  tenantId!: string;

  /** Requests in 60 seconds; 0: exempt. */
  @Column({ name: 'rpm_limit', type: 'bigint', transformer: count })
  rpmLimit!: number;

  @CreateDateColumn({ name: 'created_at', type: 'timestamptz' })
  createdAt!: Date;

  @UpdateDateColumn({ name: 'updated_at', type: 'timestamptz' })
  updatedAt!: Date;
}
