import { Column, Entity, PrimaryColumn } from 'typeorm';

/** Immutable: everything needed to compute the amount of a charge again. */
@Entity({ name: 'request_billing_snapshot' })
export class RequestBillingSnapshot {
  @PrimaryColumn({ name: 'transaction_id', type: 'uuid' })
  transactionId!: string;

  @Column({ name: 'tenant_id', type: 'uuid' })
  tenantId!: string;

  @Column('jsonb')
  arithmetic!: unknown;

  @Column({ name: 'created_at', type: 'timestamptz' })
  createdAt!: Date;
}
