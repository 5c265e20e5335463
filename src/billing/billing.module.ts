import { Module, type OnModuleInit } from '@nestjs/common';
import { CryptoModule } from '../platform/crypto/crypto.module';
import { DatabaseAccessModule } from '../platform/database/database-access.module';
import { QuotaModule } from '../quota/quota.module';
import { IdempotencyKeys } from './idempotency/idempotency-keys';
import { IdempotencyStore } from './idempotency/idempotency.store';
import { Invariants } from './invariants/invariants.service';
import { LedgerService } from './ledger/ledger.service';
import { GatewayProcess } from './process/gateway-process';
import { RequestLogWriter } from './request-log/request-log.writer';
import { Charges } from './settlement/charges';
import { CHECKPOINT_EVERY_MS, Checkpoints } from './settlement/checkpoints';
import { LateEndings } from './settlement/late-endings';
import { OpenHolds } from './settlement/open-holds';
import { ProjectionQueue } from './settlement/projection-queue';
import { ChargeWriter } from './writer/charge-writer';

/** What a stream delivers in this time is the most that a dead process gives away. */
const CHECKPOINT_MS = 5_000;

@Module({
  imports: [DatabaseAccessModule, QuotaModule, CryptoModule],
  providers: [
    ChargeWriter,
    ProjectionQueue,
    LateEndings,
    OpenHolds,
    Charges,
    Checkpoints,
    { provide: CHECKPOINT_EVERY_MS, useValue: CHECKPOINT_MS },
    LedgerService,
    IdempotencyStore,
    IdempotencyKeys,
    GatewayProcess,
    RequestLogWriter,
    Invariants,
  ],
  exports: [
    ChargeWriter,
    ProjectionQueue,
    Charges,
    LedgerService,
    IdempotencyStore,
    IdempotencyKeys,
    GatewayProcess,
    RequestLogWriter,
    Invariants,
  ],
})
export class BillingModule implements OnModuleInit {
  constructor(private readonly process: GatewayProcess) {}

  /** The process is known before it reserves anything. */
  async onModuleInit(): Promise<void> {
    await this.process.register();
  }
}
