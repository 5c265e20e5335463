import { Module, type DynamicModule } from '@nestjs/common';
import { AdminModule } from './admin/admin.module';
import { GatewayModule } from './gateway/gateway.module';
import { HealthModule } from './health/health.module';
import { Settings } from './platform/config/settings';
import { SettingsModule } from './platform/config/settings.module';
import { DatabaseModule } from './platform/database/database.module';
import { HttpModule } from './platform/http/http.module';
import { LoggingModule } from './platform/logging/logging.module';
import { MetricsModule } from './platform/metrics/metrics.module';
import { SyncModule } from './sync/sync.module';

/** The whole product: what everybody stands on, then the modules in the order a request meets them. */
@Module({})
export class AppModule {
  static register(settings: Settings): DynamicModule {
    return {
      module: AppModule,
      imports: [
        SettingsModule.register(settings),
        LoggingModule,
        MetricsModule,
        DatabaseModule,
        HttpModule,
        GatewayModule,
        SyncModule,
        AdminModule,
        HealthModule,
      ],
    };
  }
}
