import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { ApiKeyAuthenticator } from './api-key-authenticator';
import { ApiKeyHasher } from './api-key-hasher';
import { ApiKeyLookup } from './api-key-lookup';
import { ApiKey } from './api-key.entity';
import { FreeAllowances } from './free-allowances';
import { GroupRpmOverride } from './group-rpm-override.entity';
import { Subscription } from './subscription.entity';
import { TenantGroup } from './tenant-group.entity';
import { TenantUser } from './tenant-user.entity';
import { Tenant } from './tenant.entity';
import { UserPlatformQuota } from './user-platform-quota.entity';

@Module({
  imports: [
    TypeOrmModule.forFeature([
      Tenant,
      ApiKey,
      TenantUser,
      TenantGroup,
      GroupRpmOverride,
      UserPlatformQuota,
      Subscription,
    ]),
  ],
  providers: [ApiKeyHasher, ApiKeyLookup, ApiKeyAuthenticator, FreeAllowances],
  exports: [ApiKeyHasher, ApiKeyAuthenticator, FreeAllowances, TypeOrmModule],
})
export class AuthModule {}
