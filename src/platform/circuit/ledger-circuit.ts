import { Injectable } from '@nestjs/common';
import { Settings } from '../config/settings';
import { Metrics } from '../metrics/metrics';
import { Circuit } from './circuit';

/** Postgres took longer than a call waits for its row in the ledger. */
export class LedgerAwayError extends Error {
  override readonly name = 'LedgerAwayError';
}

/** Around what a new call waits for in Postgres: while it keeps not coming, new calls are answered at once. */
@Injectable()
export class LedgerCircuit extends Circuit {
  constructor(settings: Settings, metrics: Metrics) {
    super({
      name: 'Postgres',
      failures: settings.billingCircuitFailures,
      openMs: settings.billingCircuitOpenMs,
      isFailure: (error) => error instanceof LedgerAwayError,
    });
    metrics.beforeScrape(() => {
      metrics.circuitLevel.of('postgres').set(this.level);
    });
  }
}
