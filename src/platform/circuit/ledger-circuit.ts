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
  private readonly waitMs: number;

  constructor(settings: Settings, metrics: Metrics) {
    super({
      name: 'Postgres',
      failures: settings.billingCircuitFailures,
      openMs: settings.billingCircuitOpenMs,
      isFailure: (error) =>
        error instanceof LedgerAwayError || (error instanceof Error && error.cause instanceof LedgerAwayError),
    });
    this.waitMs = settings.billingWaitMs;
    metrics.beforeScrape(() => {
      metrics.circuitLevel.of('postgres').set(this.level);
    });
  }

  /** Counts whether what a call waits for came in time. Called where `takesWork`. */
  watch(written: Promise<unknown>): void {
    this.run(() => this.inTime(written)).catch(() => undefined);
  }

  private async inTime(written: Promise<unknown>): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(new LedgerAwayError('Postgres takes no rows'));
      }, this.waitMs);
    });
    await Promise.race([written, late]).finally(() => {
      clearTimeout(timer);
    });
  }
}
