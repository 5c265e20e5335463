import { Module, type OnModuleInit } from '@nestjs/common';
import { LedgerCircuit } from '../platform/circuit/ledger-circuit';
import { DatabaseAccessModule } from '../platform/database/database-access.module';
import { Settings } from '../platform/config/settings';
import { Metrics } from '../platform/metrics/metrics';
import { ProcessModule } from '../platform/process/process.module';
import { RedisConnection } from '../platform/redis/redis-connection';
import { RedisModule } from '../platform/redis/redis.module';
import { AuthorityRow } from './authority-row';
import { EndingDebt } from './ending-debt';
import { EpochAuthority } from './epoch-authority';
import { MeteredQuotaStore } from './metered-quota.store';
import { PostgresQuotaStore } from './postgres-quota.store';
import { QUOTA_STORE, type QuotaStore } from './quota-store.port';
import { RatesInProcess } from './rates-in-process';
import { ProcessHolds } from './redis/process-holds';
import { ProjectionDamage } from './redis/projection-damage';
import { QuotaScripts } from './redis/quota-scripts';
import { RedisCircuit } from './redis/redis-circuit';
import { RedisQuotaStore } from './redis-quota.store';
import { ScopePlans } from './scopes/scope-plans';
import { ServerFollowers } from './server-followers';
import { ShadowQuotaStore } from './shadow-quota.store';
import { SwitchingQuotaStore } from './switching-quota.store';
import { UntoldEndings } from './untold-endings';
import { TenantRebuild } from './warm-up/tenant-rebuild';
import { TenantWarmUp } from './warm-up/tenant-warm-up';

@Module({
  imports: [DatabaseAccessModule, RedisModule, ProcessModule],
  providers: [
    ServerFollowers,
    AuthorityRow,
    EndingDebt,
    EpochAuthority,
    TenantWarmUp,
    TenantRebuild,
    ProjectionDamage,
    ProcessHolds,
    QuotaScripts,
    ScopePlans,
    UntoldEndings,
    RedisQuotaStore,
    RedisCircuit,
    LedgerCircuit,
    RatesInProcess,
    PostgresQuotaStore,
    {
      provide: SwitchingQuotaStore,
      inject: [RedisQuotaStore, PostgresQuotaStore, EpochAuthority, RedisCircuit, RatesInProcess, ScopePlans, Metrics],
      useFactory: (
        redis: RedisQuotaStore,
        postgres: PostgresQuotaStore,
        epochs: EpochAuthority,
        circuit: RedisCircuit,
        rates: RatesInProcess,
        plans: ScopePlans,
        metrics: Metrics,
      ) =>
        new SwitchingQuotaStore(
          new MeteredQuotaStore(redis, metrics),
          postgres,
          epochs,
          circuit,
          rates,
          plans,
          metrics,
        ),
    },
    {
      provide: QUOTA_STORE,
      inject: [SwitchingQuotaStore, Metrics, Settings],
      useFactory: (store: SwitchingQuotaStore, metrics: Metrics, settings: Settings): QuotaStore =>
        settings.billingBlockOnInsufficient ? store : new ShadowQuotaStore(store, metrics),
    },
  ],
  exports: [
    QUOTA_STORE,
    ScopePlans,
    EpochAuthority,
    ProcessHolds,
    TenantRebuild,
    LedgerCircuit,
    RedisModule,
    ProcessModule,
  ],
})
export class QuotaModule implements OnModuleInit {
  constructor(
    private readonly redis: RedisConnection,
    private readonly epochs: EpochAuthority,
  ) {}

  /**
   * No command meets a server whose identity was not compared with what Postgres knows. A process without Redis cannot obey
   * one: from its boot to its end Postgres decides, for everybody.
   */
  async onModuleInit(): Promise<void> {
    if (this.redis.isNone) await this.epochs.switchToPostgres('a process has no Redis (REDIS_URL=none)');
    await this.epochs.refresh();
    await this.redis.open((server) => this.epochs.checkServer(server));
  }
}
