import { Module } from '@nestjs/common';
import { ProcessModule } from '../platform/process/process.module';
import { RedisModule } from '../platform/redis/redis.module';
import { UpstreamsModule } from '../upstreams/upstreams.module';
import { Affinity } from './affinity/affinity';
import { AffinityRecords } from './affinity/affinity-records';
import { RANDOM_SOURCE, type RandomSource } from './random-source';
import { Router } from './router';
import { UpstreamNews } from './upstream-news';
import { UpstreamProbe } from './upstream-probe';
import { UpstreamStates } from './upstream-states';

const systemRandom: RandomSource = () => Math.random();

@Module({
  imports: [UpstreamsModule, RedisModule, ProcessModule],
  providers: [
    { provide: RANDOM_SOURCE, useValue: systemRandom },
    UpstreamNews,
    UpstreamStates,
    UpstreamProbe,
    Router,
    Affinity,
    AffinityRecords,
  ],
  exports: [Router, Affinity, AffinityRecords, UpstreamNews, UpstreamStates, UpstreamProbe],
})
export class RoutingModule {}
