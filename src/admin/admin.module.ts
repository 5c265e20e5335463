import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuthModule } from '../auth/auth.module';
import { BillingModule } from '../billing/billing.module';
import { BillingReadModule } from '../billing/entities/billing-read.module';
import { CatalogueModule } from '../catalogue/catalogue.module';
import { CryptoModule } from '../platform/crypto/crypto.module';
import { QuotaModule } from '../quota/quota.module';
import { RoutingModule } from '../routing/routing.module';
import { UpstreamsModule } from '../upstreams/upstreams.module';
import { AffinityController } from './affinity/affinity.controller';
import { AffinityService } from './affinity/affinity.service';
import { ApiKeysController } from './api-keys/api-keys.controller';
import { ApiKeysService } from './api-keys/api-keys.service';
import { AuditController } from './audit/audit.controller';
import { AuditLog } from './audit/audit-log.entity';
import { GroupsController } from './groups/groups.controller';
import { GroupsService } from './groups/groups.service';
import { RpmOverridesService } from './groups/rpm-overrides.service';
import { InvariantsController } from './invariants.controller';
import { LedgerReader } from './ledger/ledger-reader';
import { LedgerController } from './ledger/ledger.controller';
import { RefundsService } from './ledger/refunds.service';
import { RequestLogsService } from './ledger/request-logs.service';
import { TransactionsService } from './ledger/transactions.service';
import { MarginsController } from './margins/margins.controller';
import { MarginsService } from './margins/margins.service';
import { ModelAliasesController } from './model-names/model-aliases.controller';
import { ModelAliasesService } from './model-names/model-aliases.service';
import { ModelFallbacksController } from './model-names/model-fallbacks.controller';
import { ModelFallbacksService } from './model-names/model-fallbacks.service';
import { AdminReceiptsController } from './receipts/receipts.controller';
import { CounterViews } from './limits/counter-views';
import { RebuildController } from './rebuild/rebuild.controller';
import { RebuildService } from './rebuild/rebuild.service';
import { PriceImportService } from './prices/import/price-import.service';
import { PriceImportsController } from './prices/import/price-imports.controller';
import { PricesController } from './prices/prices.controller';
import { PricesService } from './prices/prices.service';
import { ReRatingReader } from './prices/re-rating-reader';
import { ReRatingsController } from './prices/re-ratings.controller';
import { ReRatingsService } from './prices/re-ratings.service';
import { SubscriptionsController } from './subscriptions/subscriptions.controller';
import { SubscriptionsService } from './subscriptions/subscriptions.service';
import { AdjustmentsService } from './tenants/adjustments.service';
import { TenantAllowances } from './tenants/tenant-allowances';
import { TenantCounters } from './tenants/tenant-counters';
import { TenantQuotaService } from './tenants/tenant-quota.service';
import { TenantsController } from './tenants/tenants.controller';
import { TenantsService } from './tenants/tenants.service';
import { ProvidersController } from './upstreams/providers.controller';
import { ProvidersService } from './upstreams/providers.service';
import { UpstreamHealthService } from './upstreams/upstream-health.service';
import { UpstreamsController } from './upstreams/upstreams.controller';
import { UpstreamsService } from './upstreams/upstreams.service';
import { UserPlatformQuotasController } from './user-platform-quotas/user-platform-quotas.controller';
import { UserPlatformQuotasService } from './user-platform-quotas/user-platform-quotas.service';
import { UsersController } from './users/users.controller';
import { UsersService } from './users/users.service';

@Module({
  imports: [
    AuthModule,
    CatalogueModule,
    UpstreamsModule,
    RoutingModule,
    BillingModule,
    QuotaModule,
    BillingReadModule,
    CryptoModule,
    TypeOrmModule.forFeature([AuditLog]),
  ],
  controllers: [
    TenantsController,
    ApiKeysController,
    UsersController,
    GroupsController,
    UserPlatformQuotasController,
    SubscriptionsController,
    ProvidersController,
    UpstreamsController,
    AffinityController,
    ModelAliasesController,
    ModelFallbacksController,
    PricesController,
    ReRatingsController,
    PriceImportsController,
    LedgerController,
    AdminReceiptsController,
    MarginsController,
    AuditController,
    InvariantsController,
    RebuildController,
  ],
  providers: [
    RebuildService,
    TenantsService,
    TenantQuotaService,
    TenantAllowances,
    TenantCounters,
    AdjustmentsService,
    ApiKeysService,
    CounterViews,
    UsersService,
    GroupsService,
    RpmOverridesService,
    UserPlatformQuotasService,
    SubscriptionsService,
    ProvidersService,
    UpstreamsService,
    AffinityService,
    UpstreamHealthService,
    ModelAliasesService,
    ModelFallbacksService,
    PricesService,
    ReRatingsService,
    ReRatingReader,
    PriceImportService,
    TransactionsService,
    LedgerReader,
    RefundsService,
    RequestLogsService,
    MarginsService,
  ],
})
export class AdminModule {}
