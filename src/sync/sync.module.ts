import { Module } from '@nestjs/common';
import { DatabaseAccessModule } from '../platform/database/database-access.module';
import { ScheduleModule } from '@nestjs/schedule';
import { BillingModule } from '../billing/billing.module';
import { QuotaModule } from '../quota/quota.module';
import { DeadCharges } from './dead-charges';
import { HoldSweeper } from './hold-sweeper';
import { IdempotencyExpiry } from './idempotency-expiry';
import { MonthKeeper } from './month-keeper';

@Module({
  imports: [DatabaseAccessModule, ScheduleModule.forRoot(), BillingModule, QuotaModule],
  providers: [DeadCharges, HoldSweeper, MonthKeeper, IdempotencyExpiry],
  exports: [HoldSweeper, IdempotencyExpiry],
})
export class SyncModule {}
