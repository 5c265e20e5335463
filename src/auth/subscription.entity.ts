import { Column, CreateDateColumn, Entity, PrimaryColumn, UpdateDateColumn } from 'typeorm';
import type { NanoUsd } from '../kernel/money';
import { UsdLimitColumn } from './limit.columns';

export const SUBSCRIPTION_STATUSES = ['active', 'paused', 'cancelled', 'closed'] as const;
export type SubscriptionStatus = (typeof SUBSCRIPTION_STATUSES)[number];

/**
 * What pays for the keys of a subscription group, while it is active and within its time.
 *
 *   active ⇄ paused ⇄ cancelled ── close ──► closed (for good)
 *
 * Never deleted: money rows name it for ever.
 */
@Entity({ name: 'subscription' })
export class Subscription {
  @PrimaryColumn('uuid')
  id!: string;

  @Column({ name: 'tenant_id', type: 'uuid' })
  tenantId!: string;

  /** Of kind `subscription`. */
  @Column({ name: 'group_id', type: 'uuid' })
  groupId!: string;

  /** Null: for every key of the group; else for this user's keys in it. */
  @Column({ name: 'user_id', type: 'uuid', nullable: true })
  userId!: string | null;

  @Column('text')
  status!: SubscriptionStatus;

  @Column({ name: 'starts_at', type: 'timestamptz' })
  startsAt!: Date;

  /** Exclusive; null: without end. */
  @Column({ name: 'ends_at', type: 'timestamptz', nullable: true })
  endsAt!: Date | null;

  @UsdLimitColumn('daily_limit_nano_usd')
  dailyLimitNanoUsd!: NanoUsd | null;

  @UsdLimitColumn('weekly_limit_nano_usd')
  weeklyLimitNanoUsd!: NanoUsd | null;

  @UsdLimitColumn('monthly_limit_nano_usd')
  monthlyLimitNanoUsd!: NanoUsd | null;

  @CreateDateColumn({ name: 'created_at', type: 'timestamptz' })
  createdAt!: Date;

  @UpdateDateColumn({ name: 'updated_at', type: 'timestamptz' })
  updatedAt!: Date;
}
