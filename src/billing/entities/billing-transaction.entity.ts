import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { NanoUsd } from '../../kernel/money';
import type { ChargeStatus, CountingMethod } from '../charge';
import { NanoUsdColumn } from './nano-usd.column';

export const TRANSACTION_TYPES = ['charge', 'recharge', 'adjustment', 'refund', 'correction', 'credit_note'] as const;
export type TransactionType = (typeof TRANSACTION_TYPES)[number];

/** The business record of one charge or posting, as the ledger's statements wrote it. Counts are text, as Postgres gives bigint. */
@Entity({ name: 'billing_transaction' })
export class BillingTransaction {
  @PrimaryColumn('uuid')
  id!: string;

  @Column({ name: 'tenant_id', type: 'uuid' })
  tenantId!: string;

  @Column({ name: 'trace_id', type: 'uuid' })
  traceId!: string;

  @Column('text')
  type!: TransactionType;

  @Column('text')
  status!: ChargeStatus;

  @Column('text')
  channel!: string;

  @Column({ name: 'is_stream', type: 'boolean' })
  isStream!: boolean;

  @Column('bigint')
  epoch!: string;

  @Column({ name: 'process_id', type: 'uuid', nullable: true })
  processId!: string | null;

  @NanoUsdColumn('hold_nano_usd')
  holdNanoUsd!: NanoUsd;

  @NanoUsdColumn('amount_nano_usd')
  amountNanoUsd!: NanoUsd;

  @NanoUsdColumn('refunded_nano_usd')
  refundedNanoUsd!: NanoUsd;

  @NanoUsdColumn('credit_limit_nano_usd')
  creditLimitNanoUsd!: NanoUsd;

  @NanoUsdColumn('balance_before_nano_usd', { nullable: true })
  balanceBeforeNanoUsd!: NanoUsd | null;

  @NanoUsdColumn('balance_after_nano_usd', { nullable: true })
  balanceAfterNanoUsd!: NanoUsd | null;

  @Column('text')
  funding!: string;

  @Column({ name: 'day_window_start', type: 'timestamptz', nullable: true })
  dayWindowStart!: Date | null;

  @Column({ name: 'month_window_start', type: 'timestamptz', nullable: true })
  monthWindowStart!: Date | null;

  @Column({ name: 'api_key_id', type: 'uuid', nullable: true })
  apiKeyId!: string | null;

  @Column({ name: 'api_key_name', type: 'text', nullable: true })
  apiKeyName!: string | null;

  @Column({ type: 'text', nullable: true })
  model!: string | null;

  @Column({ name: 'upstream_id', type: 'uuid', nullable: true })
  upstreamId!: string | null;

  @Column({ name: 'upstream_name', type: 'text', nullable: true })
  upstreamName!: string | null;

  @Column({ name: 'provider_name', type: 'text', nullable: true })
  providerName!: string | null;

  @Column({ name: 'price_version', type: 'bigint', nullable: true })
  priceVersion!: string | null;

  @Column({ type: 'jsonb', nullable: true })
  prices!: unknown;

  @Column({ name: 'tokens_input_uncached', type: 'bigint' })
  tokensInputUncached!: string;

  @Column({ name: 'tokens_input_cached', type: 'bigint' })
  tokensInputCached!: string;

  @Column({ name: 'tokens_cache_write', type: 'bigint' })
  tokensCacheWrite!: string;

  @Column({ name: 'tokens_output', type: 'bigint' })
  tokensOutput!: string;

  @Column({ name: 'tokens_reasoning', type: 'bigint' })
  tokensReasoning!: string;

  @Column({ name: 'tokens_audio', type: 'bigint' })
  tokensAudio!: string;

  @Column({ name: 'tokens_image', type: 'bigint' })
  tokensImage!: string;

  /** What the served attempt costs us. */
  @NanoUsdColumn('upstream_cost_nano_usd')
  upstreamCostNanoUsd!: NanoUsd;

  @Column({ name: 'counting_method', type: 'text', nullable: true })
  countingMethod!: CountingMethod | null;

  @Column({ name: 'end_reason', type: 'text', nullable: true })
  endReason!: string | null;

  @Column({ name: 'reason_code', type: 'text', nullable: true })
  reasonCode!: string | null;

  @Column({ type: 'text', nullable: true })
  description!: string | null;

  @Column({ name: 'reversed_by', type: 'uuid', nullable: true })
  reversedBy!: string | null;

  /** Of what corrects a charge or gives it back: that charge. */
  @Column({ name: 'original_transaction_id', type: 'uuid', nullable: true })
  originalTransactionId!: string | null;

  @Column({ name: 'created_at', type: 'timestamptz' })
  createdAt!: Date;

  @Column({ name: 'ended_at', type: 'timestamptz', nullable: true })
  endedAt!: Date | null;
}
