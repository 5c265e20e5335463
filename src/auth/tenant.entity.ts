import { Column, CreateDateColumn, Entity, PrimaryColumn, UpdateDateColumn, type ValueTransformer } from 'typeorm';
import type { UnknownPricePolicy } from './principal';

export const TENANT_STATUSES = ['active', 'suspended', 'closed'] as const;
export type TenantStatus = (typeof TENANT_STATUSES)[number];

/** Request counts stay far below 2^53 (the API bounds them), so a number holds them exactly. */
const requestCount: ValueTransformer = {
  to: (value: number | null) => value,
  from: (value: string | null) => (value === null ? null : Number(value)),
};

/** Closed, never deleted: money rows name it for ever. */
@Entity({ name: 'tenant' })
export class Tenant {
  @PrimaryColumn('uuid')
  id!: string;

  @Column('text')
  name!: string;

  @Column('text')
  status!: TenantStatus;

  @Column('text')
  timezone!: string;

  /** Requests a calendar day in the tenant's zone; null is unlimited. */
  @Column({ name: 'daily_quota', type: 'bigint', nullable: true, transformer: requestCount })
  dailyQuota!: number | null;

  @Column({ name: 'monthly_quota', type: 'bigint', nullable: true, transformer: requestCount })
  monthlyQuota!: number | null;

  @Column({ name: 'unknown_price_policy', type: 'text' })
  unknownPricePolicy!: UnknownPricePolicy;

  @CreateDateColumn({ name: 'created_at', type: 'timestamptz' })
  createdAt!: Date;

  @UpdateDateColumn({ name: 'updated_at', type: 'timestamptz' })
  updatedAt!: Date;
}
