import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { LoggedUsage } from '../request-log/request-log.writer';

/** Operational record of a request; id is the trace id. Losing a row costs no money. */
@Entity({ name: 'request_log' })
export class RequestLog {
  @PrimaryColumn('uuid')
  id!: string;

  @Column({ name: 'tenant_id', type: 'uuid' })
  tenantId!: string;

  /** Null once the key is deleted. */
  @Column({ name: 'api_key_id', type: 'uuid', nullable: true })
  apiKeyId!: string | null;

  @Column({ name: 'client_request_id', type: 'text', nullable: true })
  clientRequestId!: string | null;

  @Column('text')
  channel!: string;

  @Column('text')
  route!: string;

  @Column({ type: 'text', nullable: true })
  model!: string | null;

  @Column({ name: 'is_stream', type: 'boolean' })
  isStream!: boolean;

  @Column('integer')
  status!: number;

  @Column({ name: 'error_code', type: 'text', nullable: true })
  errorCode!: string | null;

  @Column({ name: 'end_reason', type: 'text', nullable: true })
  endReason!: string | null;

  @Column({ name: 'duration_ms', type: 'integer' })
  durationMs!: number;

  @Column({ name: 'ttft_ms', type: 'integer', nullable: true })
  ttftMs!: number | null;

  /** Of a call that no charge was made for (RUN_MODE=simple). */
  @Column({ type: 'jsonb', nullable: true })
  usage!: LoggedUsage | null;

  @Column({ name: 'created_at', type: 'timestamptz' })
  createdAt!: Date;
}
