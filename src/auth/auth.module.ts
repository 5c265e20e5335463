import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { ApiKeyAuthenticator } from './api-key-authenticator';
import { ApiKeyHasher } from './api-key-hasher';
import { ApiKeyLookup } from './api-key-lookup';
import { ApiKey } from './api-key.entity';
import { Tenant } from './tenant.entity';

@Module({
  imports: [TypeOrmModule.forFeature([Tenant, ApiKey])],
  providers: [ApiKeyHasher, ApiKeyLookup, ApiKeyAuthenticator],
  exports: [ApiKeyHasher, ApiKeyAuthenticator, TypeOrmModule],
})
export class AuthModule {}
