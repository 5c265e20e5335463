import { Column, CreateDateColumn, Entity, PrimaryColumn, UpdateDateColumn } from 'typeorm';
import type { NanoUsd } from '../kernel/money';
import { UsdLimitColumn } from './limit.columns';

/** What a user may spend at providers of one kind; one a user and platform. */
@Entity({ name: 'user_platform_quota' })
export class UserPlatformQuota {
  /** The table's key is (user, platform); this names a row to the API. */
  @PrimaryColumn('uuid')
  id!: string;

  @Column({ name: 'tenant_id', type: 'uuid' })
  tenantId!: string;

  @Column({ name: 'user_id', type: 'uuid' })
  userId!: string;

  @Column('text')
  platform!: string;

  @UsdLimitColumn('daily_limit_nano_usd')
  dailyLimitNanoUsd!: NanoUsd | null;

  @UsdLimitColumn('weekly_limit_nano_usd')
  weeklyLimitNanoUsd!: NanoUsd | null;

  /** In 30 days from the first use. */
  @UsdLimitColumn('monthly_limit_nano_usd')
  monthlyLimitNanoUsd!: NanoUsd | null;

  @CreateDateColumn({ name: 'created_at', type: 'timestamptz' })
  createdAt!: Date;

  @UpdateDateColumn({ name: 'updated_at', type: 'timestamptz' })
  updatedAt!: Date;
}
