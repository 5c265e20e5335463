import { Module } from '@nestjs/common';
import { DatabaseAccessModule } from '../platform/database/database-access.module';
import { QuotaModule } from '../quota/quota.module';
import { LedgerService } from './ledger/ledger.service';
import { GatewayProcess } from './process/gateway-process';
import { RequestLogWriter } from './request-log/request-log.writer';
import { Charges } from './settlement/charges';
import { ProjectionQueue } from './settlement/projection-queue';
import { ChargeWriter } from './writer/charge-writer';

@Module({
  imports: [DatabaseAccessModule, QuotaModule],
  providers: [ChargeWriter, ProjectionQueue, Charges, LedgerService, GatewayProcess, RequestLogWriter],
  exports: [ChargeWriter, ProjectionQueue, Charges, LedgerService, GatewayProcess, RequestLogWriter],
})
export class BillingModule {}
