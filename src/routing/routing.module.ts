import { Module } from '@nestjs/common';
import { RedisModule } from '../platform/redis/redis.module';
import { UpstreamsModule } from '../upstreams/upstreams.module';
import { Affinity } from './affinity/affinity';
import { AffinityRecords } from './affinity/affinity-records';
import { RANDOM_SOURCE, type RandomSource } from './random-source';
import { Router } from './router';

const systemRandom: RandomSource = () => Math.random();

@Module({
  imports: [UpstreamsModule, RedisModule],
  providers: [{ provide: RANDOM_SOURCE, useValue: systemRandom }, Router, Affinity, AffinityRecords],
  exports: [Router, Affinity, AffinityRecords],
})
export class RoutingModule {}
