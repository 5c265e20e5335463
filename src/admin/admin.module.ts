import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuthModule } from '../auth/auth.module';
import { BillingModule } from '../billing/billing.module';
import { BillingReadModule } from '../billing/entities/billing-read.module';
import { CatalogueModule } from '../catalogue/catalogue.module';
import { CryptoModule } from '../platform/crypto/crypto.module';
import { UpstreamsModule } from '../upstreams/upstreams.module';
import { ApiKeysController } from './api-keys/api-keys.controller';
import { ApiKeysService } from './api-keys/api-keys.service';
import { AuditController } from './audit/audit.controller';
import { AuditLog } from './audit/audit-log.entity';
import { InvariantsController } from './invariants.controller';
import { LedgerReader } from './ledger/ledger-reader';
import { LedgerController } from './ledger/ledger.controller';
import { RequestLogsService } from './ledger/request-logs.service';
import { TransactionsService } from './ledger/transactions.service';
import { PricesController } from './prices/prices.controller';
import { PricesService } from './prices/prices.service';
import { AdjustmentsService } from './tenants/adjustments.service';
import { TenantQuotaService } from './tenants/tenant-quota.service';
import { TenantsController } from './tenants/tenants.controller';
import { TenantsService } from './tenants/tenants.service';
import { ProvidersController } from './upstreams/providers.controller';
import { ProvidersService } from './upstreams/providers.service';
import { UpstreamsController } from './upstreams/upstreams.controller';
import { UpstreamsService } from './upstreams/upstreams.service';

@Module({
  imports: [
    AuthModule,
    CatalogueModule,
    UpstreamsModule,
    BillingModule,
    BillingReadModule,
    CryptoModule,
    TypeOrmModule.forFeature([AuditLog]),
  ],
  controllers: [
    TenantsController,
    ApiKeysController,
    ProvidersController,
    UpstreamsController,
    PricesController,
    LedgerController,
    AuditController,
    InvariantsController,
  ],
  providers: [
    TenantsService,
    TenantQuotaService,
    AdjustmentsService,
    ApiKeysService,
    ProvidersService,
    UpstreamsService,
    PricesService,
    TransactionsService,
    LedgerReader,
    RequestLogsService,
  ],
})
export class AdminModule {}
