import { Column, CreateDateColumn, Entity, PrimaryColumn, UpdateDateColumn } from 'typeorm';
import { CountLimitColumn } from './limit.columns';
import type { UnknownPricePolicy } from './principal';

export const TENANT_STATUSES = ['active', 'suspended', 'closed'] as const;
export type TenantStatus = (typeof TENANT_STATUSES)[number];

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
  @CountLimitColumn('daily_quota')
  dailyQuota!: number | null;

  @CountLimitColumn('monthly_quota')
  monthlyQuota!: number | null;

  /** Requests and tokens in 60 seconds, and calls under way at once, of all its keys; null is unlimited. */
  @CountLimitColumn('rpm_limit')
  rpmLimit!: number | null;

  @CountLimitColumn('tpm_limit')
  tpmLimit!: number | null;

  @CountLimitColumn('concurrency_limit')
  concurrencyLimit!: number | null;

  @Column({ name: 'unknown_price_policy', type: 'text' })
  unknownPricePolicy!: UnknownPricePolicy;

  @CreateDateColumn({ name: 'created_at', type: 'timestamptz' })
  createdAt!: Date;

  @UpdateDateColumn({ name: 'updated_at', type: 'timestamptz' })
  updatedAt!: Date;
}
