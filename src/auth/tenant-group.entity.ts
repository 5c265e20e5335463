import { Column, CreateDateColumn, Entity, PrimaryColumn, UpdateDateColumn, type ValueTransformer } from 'typeorm';
import { CountLimitColumn } from './limit.columns';

export const GROUP_KINDS = ['standard', 'subscription'] as const;
export type GroupKind = (typeof GROUP_KINDS)[number];

const exact: ValueTransformer = {
  to: (value: bigint) => value.toString(),
  from: (value: string) => BigInt(value),
};

/** Keys of a tenant that share a rate and what a call costs, and in a subscription group who pays for them. */
@Entity({ name: 'tenant_group' })
export class TenantGroup {
  @PrimaryColumn('uuid')
  id!: string;

  @Column({ name: 'tenant_id', type: 'uuid' })
  tenantId!: string;

  @Column('text')
  name!: string;

  /** Never changes: it says who pays. */
  @Column('text')
  kind!: GroupKind;

  /** Requests in 60 seconds of each user in the group. */
  @CountLimitColumn('rpm_limit')
  rpmLimit!: number | null;

  /** What a call by a key of the group costs: a million is the price itself. */
  @Column({ name: 'price_multiplier_millionths', type: 'bigint', transformer: exact })
  priceMultiplierMillionths!: bigint;

  @CreateDateColumn({ name: 'created_at', type: 'timestamptz' })
  createdAt!: Date;

  @UpdateDateColumn({ name: 'updated_at', type: 'timestamptz' })
  updatedAt!: Date;
}
