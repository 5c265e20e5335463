import { Module, type OnModuleInit } from '@nestjs/common';
import { DatabaseAccessModule } from '../platform/database/database-access.module';
import { Settings } from '../platform/config/settings';
import { Metrics } from '../platform/metrics/metrics';
import { ProcessModule } from '../platform/process/process.module';
import { RedisConnection } from '../platform/redis/redis-connection';
import { RedisModule } from '../platform/redis/redis.module';
import { EpochAuthority } from './epoch-authority';
import { MeteredQuotaStore } from './metered-quota.store';
import { QUOTA_STORE, type QuotaStore } from './quota-store.port';
import { QuotaScripts } from './redis/quota-scripts';
import { RedisQuotaStore } from './redis-quota.store';
import { ScopePlans } from './scopes/scope-plans';
import { ServerFollowers } from './server-followers';
import { ShadowQuotaStore } from './shadow-quota.store';
import { UntoldEndings } from './untold-endings';
import { TenantRebuild } from './warm-up/tenant-rebuild';
import { TenantWarmUp } from './warm-up/tenant-warm-up';

@Module({
  imports: [DatabaseAccessModule, RedisModule, ProcessModule],
  providers: [
    ServerFollowers,
    EpochAuthority,
    TenantWarmUp,
    TenantRebuild,
    QuotaScripts,
    ScopePlans,
    UntoldEndings,
    RedisQuotaStore,
    {
      provide: QUOTA_STORE,
      inject: [RedisQuotaStore, Metrics, Settings],
      useFactory: (store: RedisQuotaStore, metrics: Metrics, settings: Settings): QuotaStore => {
        const metered = new MeteredQuotaStore(store, metrics);
        return settings.billingBlockOnInsufficient ? metered : new ShadowQuotaStore(metered, metrics);
      },
    },
  ],
  exports: [QUOTA_STORE, ScopePlans, EpochAuthority, RedisModule, ProcessModule],
})
export class QuotaModule implements OnModuleInit {
  constructor(
    private readonly redis: RedisConnection,
    private readonly epochs: EpochAuthority,
  ) {}

  /** No command meets a server whose identity was not compared with what Postgres knows. */
  async onModuleInit(): Promise<void> {
    await this.redis.open((server) => this.epochs.checkServer(server));
  }
}
