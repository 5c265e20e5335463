import { Global, Module } from '@nestjs/common';
import { Metrics } from '../metrics/metrics';
import { Drain } from './drain';

@Global()
@Module({ providers: [Drain], exports: [Drain] })
export class HttpModule {
  constructor(drain: Drain, metrics: Metrics) {
    metrics.beforeScrape(() => {
      metrics.requestsInFlight.set(drain.inFlight);
    });
  }
}
