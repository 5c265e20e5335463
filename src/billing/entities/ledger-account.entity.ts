import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { NanoUsd } from '../../kernel/money';
import { NanoUsdColumn } from './nano-usd.column';

/** A tenant's account keeps its balance; a house account (tenant null) has none of its own: its transfers are it. */
@Entity({ name: 'ledger_account' })
export class LedgerAccount {
  @PrimaryColumn('uuid')
  id!: string;

  @Column({ name: 'tenant_id', type: 'uuid', nullable: true })
  tenantId!: string | null;

  /** `wallet`, `overrun`; of the house `revenue`, `adjustment`, … */
  @Column('text')
  name!: string;

  @NanoUsdColumn('posted_nano_usd', { nullable: true })
  postedNanoUsd!: NanoUsd | null;

  @NanoUsdColumn('credit_limit_nano_usd')
  creditLimitNanoUsd!: NanoUsd;

  /** Changes of the balance so far, as text: a gapless count. */
  @Column('bigint')
  version!: string;

  @Column({ name: 'created_at', type: 'timestamptz', insert: false, update: false })
  createdAt!: Date;
}
