import { Module, type OnModuleInit } from '@nestjs/common';
import { DatabaseAccessModule } from '../platform/database/database-access.module';
import { QuotaModule } from '../quota/quota.module';
import { Invariants } from './invariants/invariants.service';
import { LedgerService } from './ledger/ledger.service';
import { GatewayProcess } from './process/gateway-process';
import { RequestLogWriter } from './request-log/request-log.writer';
import { Charges } from './settlement/charges';
import { LateEndings } from './settlement/late-endings';
import { ProjectionQueue } from './settlement/projection-queue';
import { ChargeWriter } from './writer/charge-writer';

@Module({
  imports: [DatabaseAccessModule, QuotaModule],
  providers: [ChargeWriter, ProjectionQueue, LateEndings, Charges, LedgerService, GatewayProcess, RequestLogWriter, Invariants],
  exports: [ChargeWriter, ProjectionQueue, Charges, LedgerService, GatewayProcess, RequestLogWriter, Invariants],
})
export class BillingModule implements OnModuleInit {
  constructor(private readonly process: GatewayProcess) {}

  /** The process is known before it reserves anything. */
  async onModuleInit(): Promise<void> {
    await this.process.register();
  }
}
