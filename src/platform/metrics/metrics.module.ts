import { Global, Module } from '@nestjs/common';
import { PrometheusModule, type PrometheusOptions } from '@willsoto/nestjs-prometheus';
import { Metrics } from './metrics';
import { MetricsController } from './metrics.controller';
import { MetricsServer } from './metrics-server';

@Global()
@Module({ providers: [Metrics], exports: [Metrics] })
class MetricsRegistryModule {}

/** `Metrics` for everybody, and `/metrics` with the process's own measurements beside ours. */
@Module({
  imports: [
    MetricsRegistryModule,
    PrometheusModule.registerAsync({
      controller: MetricsController,
      imports: [MetricsRegistryModule],
      inject: [Metrics],
      useFactory: defaultMetricsBeside,
    }),
  ],
  providers: [MetricsServer],
})
export class MetricsModule {}

/** A registry of the application's own rather than the library's global one: two gateways may live in one process. */
function defaultMetricsBeside(metrics: unknown): PrometheusOptions {
  if (!(metrics instanceof Metrics)) throw new TypeError('Metrics expected');
  return { defaultMetrics: { enabled: true, config: { register: metrics.registry } } };
}
