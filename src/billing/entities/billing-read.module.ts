import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DatabaseAccessModule } from '../../platform/database/database-access.module';
import { ReceiptReader } from '../receipts/receipt-reader';
import { BillingTransaction } from './billing-transaction.entity';
import { LedgerAccount } from './ledger-account.entity';
import { LedgerTransfer } from './ledger-transfer.entity';
import { RequestAttempt } from './request-attempt.entity';
import { RequestBillingSnapshot } from './request-billing-snapshot.entity';
import { RequestLog } from './request-log.entity';
import { TenantBalances } from './tenant-balances';

/** The ledger's tables for reading. Who writes them goes through BillingModule. */
@Module({
  imports: [
    DatabaseAccessModule,
    TypeOrmModule.forFeature([
      BillingTransaction,
      LedgerAccount,
      LedgerTransfer,
      RequestBillingSnapshot,
      RequestLog,
      RequestAttempt,
    ]),
  ],
  providers: [TenantBalances, ReceiptReader],
  exports: [TenantBalances, ReceiptReader, TypeOrmModule],
})
export class BillingReadModule {}
