import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DatabaseAccessModule } from '../../platform/database/database-access.module';
import { BillingTransaction } from './billing-transaction.entity';
import { LedgerAccount } from './ledger-account.entity';
import { LedgerTransfer } from './ledger-transfer.entity';
import { RequestBillingSnapshot } from './request-billing-snapshot.entity';
import { RequestLog } from './request-log.entity';
import { TenantBalances } from './tenant-balances';

/** The ledger's tables for reading. Who writes them goes through BillingModule. */
@Module({
  imports: [
    DatabaseAccessModule,
    TypeOrmModule.forFeature([BillingTransaction, LedgerAccount, LedgerTransfer, RequestBillingSnapshot, RequestLog]),
  ],
  providers: [TenantBalances],
  exports: [TenantBalances, TypeOrmModule],
})
export class BillingReadModule {}
