import { Column, CreateDateColumn, Entity, PrimaryColumn, UpdateDateColumn } from 'typeorm';
import type { NanoUsd } from '../kernel/money';
import { UsdLimitColumn } from './limit.columns';

/** The key itself is shown once and never stored. Every query of this table but the look-up by digest names a tenant. */
@Entity({ name: 'api_key' })
export class ApiKey {
  @PrimaryColumn('uuid')
  id!: string;

  @Column({ name: 'tenant_id', type: 'uuid' })
  tenantId!: string;

  @Column('text')
  name!: string;

  @Column({ type: 'bytea', select: false })
  digest!: Buffer;

  /** Last characters of the key, to recognise it by. */
  @Column('text')
  hint!: string;

  /** Null is every model. */
  @Column({ name: 'allowed_models', type: 'text', array: true, nullable: true })
  allowedModels!: string[] | null;

  /** Of the key's own tenant, as its group: the database refuses any other. */
  @Column({ name: 'user_id', type: 'uuid', nullable: true })
  userId!: string | null;

  @Column({ name: 'group_id', type: 'uuid', nullable: true })
  groupId!: string | null;

  /** Over the key's whole life. */
  @UsdLimitColumn('budget_nano_usd')
  budgetNanoUsd!: NanoUsd | null;

  @UsdLimitColumn('limit_5h_nano_usd')
  limit5hNanoUsd!: NanoUsd | null;

  @UsdLimitColumn('limit_1d_nano_usd')
  limit1dNanoUsd!: NanoUsd | null;

  @UsdLimitColumn('limit_7d_nano_usd')
  limit7dNanoUsd!: NanoUsd | null;

  @Column({ name: 'expires_at', type: 'timestamptz', nullable: true })
  expiresAt!: Date | null;

  @Column({ name: 'revoked_at', type: 'timestamptz', nullable: true })
  revokedAt!: Date | null;

  @CreateDateColumn({ name: 'created_at', type: 'timestamptz' })
  createdAt!: Date;

  @UpdateDateColumn({ name: 'updated_at', type: 'timestamptz' })
  updatedAt!: Date;
}
