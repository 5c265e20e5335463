import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { NanoUsd } from '../../kernel/money';
import { NanoUsdColumn } from './nano-usd.column';

/** Append-only: the database refuses a change. Versions number the changes of a tenant's account, null on the house side. */
@Entity({ name: 'ledger_transfer' })
export class LedgerTransfer {
  @PrimaryColumn('bigint')
  id!: string;

  @Column('text')
  kind!: string;

  @Column({ name: 'transaction_id', type: 'uuid' })
  transactionId!: string;

  @Column({ name: 'debit_account_id', type: 'uuid' })
  debitAccountId!: string;

  @Column({ name: 'credit_account_id', type: 'uuid' })
  creditAccountId!: string;

  @NanoUsdColumn('amount_nano_usd')
  amountNanoUsd!: NanoUsd;

  @Column({ name: 'debit_version', type: 'bigint', nullable: true })
  debitVersion!: string | null;

  @Column({ name: 'credit_version', type: 'bigint', nullable: true })
  creditVersion!: string | null;

  @Column({ name: 'reason_code', type: 'text', nullable: true })
  reasonCode!: string | null;

  @Column({ name: 'created_at', type: 'timestamptz' })
  createdAt!: Date;
}
