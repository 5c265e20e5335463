import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { CryptoModule } from '../platform/crypto/crypto.module';
import { BaseUrlPolicy, HOST_LOOKUP, systemLookup } from './base-url-policy';
import { Provider } from './entities/provider.entity';
import { Upstream as UpstreamEntity } from './entities/upstream.entity';
import { OpenAiUpstream } from './openai/openai.upstream';
import { UpstreamDirectory } from './upstream-directory';
import { UpstreamPools } from './upstream-pools';
import { type ProviderKind, type Upstream, UPSTREAMS } from './upstream.port';

@Module({
  imports: [CryptoModule, TypeOrmModule.forFeature([Provider, UpstreamEntity])],
  providers: [
    { provide: HOST_LOOKUP, useValue: systemLookup },
    BaseUrlPolicy,
    UpstreamPools,
    UpstreamDirectory,
    OpenAiUpstream,
    {
      provide: UPSTREAMS,
      inject: [OpenAiUpstream],
      useFactory: (openai: OpenAiUpstream): ReadonlyMap<ProviderKind, Upstream> => new Map([['openai', openai]]),
    },
  ],
  exports: [UPSTREAMS, UpstreamDirectory, BaseUrlPolicy, CryptoModule, TypeOrmModule],
})
export class UpstreamsModule {}
