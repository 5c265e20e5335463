import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { CryptoModule } from '../platform/crypto/crypto.module';
import { AnthropicUpstream } from './anthropic/anthropic.upstream';
import { BaseUrlPolicy, HOST_LOOKUP, systemLookup } from './base-url-policy';
import { ModelAlias } from './entities/model-alias.entity';
import { ModelFallback } from './entities/model-fallback.entity';
import { Provider } from './entities/provider.entity';
import { Upstream as UpstreamEntity } from './entities/upstream.entity';
import { OpenAiUpstream } from './openai/openai.upstream';
import { UpstreamDirectory } from './upstream-directory';
import { UpstreamPools } from './upstream-pools';
import { type ProviderKind, type Upstream, UPSTREAMS } from './upstream.port';

@Module({
  imports: [CryptoModule, TypeOrmModule.forFeature([Provider, UpstreamEntity, ModelAlias, ModelFallback])],
  providers: [
    { provide: HOST_LOOKUP, useValue: systemLookup },
    BaseUrlPolicy,
    UpstreamPools,
    UpstreamDirectory,
    OpenAiUpstream,
    AnthropicUpstream,
    {
      provide: UPSTREAMS,
      inject: [OpenAiUpstream, AnthropicUpstream],
      useFactory: (openai: OpenAiUpstream, anthropic: AnthropicUpstream): ReadonlyMap<ProviderKind, Upstream> =>
        new Map<ProviderKind, Upstream>([
          ['openai', openai],
          ['anthropic', anthropic],
        ]),
    },
  ],
  exports: [UPSTREAMS, UpstreamDirectory, BaseUrlPolicy, CryptoModule, TypeOrmModule],
})
export class UpstreamsModule {}
