import { Module } from '@nestjs/common';
import { UpstreamsModule } from '../upstreams/upstreams.module';
import { RANDOM_SOURCE, type RandomSource } from './random-source';
import { Router } from './router';

const systemRandom: RandomSource = () => Math.random();

@Module({
  imports: [UpstreamsModule],
  providers: [{ provide: RANDOM_SOURCE, useValue: systemRandom }, Router],
  exports: [Router],
})
export class RoutingModule {}
