import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { NanoUsd } from '../../kernel/money';
import type { AttemptRow } from '../request-log/request-log.writer';
import { NanoUsdColumn } from './nano-usd.column';

/** One attempt of a call at one upstream. Operational: losing a row costs no money, the ledger says what was booked. */
@Entity({ name: 'request_attempt' })
export class RequestAttempt {
  /** The trace id. */
  @PrimaryColumn({ name: 'request_id', type: 'uuid' })
  requestId!: string;

  /** From 1 on. */
  @PrimaryColumn('smallint')
  attempt!: number;

  @Column({ name: 'tenant_id', type: 'uuid' })
  tenantId!: string;

  @Column({ type: 'text', nullable: true })
  model!: string | null;

  /** Null once the upstream is deleted; its names stay. */
  @Column({ name: 'upstream_id', type: 'uuid', nullable: true })
  upstreamId!: string | null;

  @Column({ name: 'upstream_name', type: 'text', nullable: true })
  upstreamName!: string | null;

  @Column({ name: 'provider_name', type: 'text', nullable: true })
  providerName!: string | null;

  /** HTTP status; null where no headers came. */
  @Column({ type: 'integer', nullable: true })
  status!: number | null;

  @Column('text')
  outcome!: string;

  @Column({ name: 'is_served', type: 'boolean' })
  isServed!: boolean;

  @Column({ name: 'ttft_ms', type: 'integer', nullable: true })
  ttftMs!: number | null;

  @Column({ name: 'duration_ms', type: 'integer' })
  durationMs!: number;

  /** By bucket, only those that are not empty. */
  @Column({ type: 'jsonb', nullable: true })
  tokens!: Readonly<Record<string, number>> | null;

  @NanoUsdColumn('upstream_cost_nano_usd')
  upstreamCostNanoUsd!: NanoUsd;

  @Column({ name: 'paid_by', type: 'text' })
  paidBy!: AttemptRow['paid_by'];

  @Column({ name: 'created_at', type: 'timestamptz' })
  createdAt!: Date;
}
