import { Metrics } from '../platform/metrics/metrics';
import type {
  EndedHold,
  ExtendOutcome,
  HoldExtension,
  HoldRequest,
  PostedBalance,
  QuotaStore,
  ReserveOutcome,
} from './quota-store.port';

/** Times each script's round trip around a store. */
export class MeteredQuotaStore implements QuotaStore {
  private readonly deduct;
  private readonly extended;
  private readonly ended;

  constructor(
    private readonly inner: QuotaStore,
    metrics: Metrics,
  ) {
    this.deduct = metrics.redisLuaSeconds.of('quota_deduct');
    this.extended = metrics.redisLuaSeconds.of('quota_extend');
    this.ended = metrics.redisLuaSeconds.of('quota_end');
  }

  reserve(hold: HoldRequest): Promise<ReserveOutcome> {
    return timed(this.deduct, this.inner.reserve(hold));
  }

  quote(hold: HoldRequest): Promise<ReserveOutcome> {
    return timed(this.deduct, this.inner.quote(hold));
  }

  extend(extension: HoldExtension): Promise<ExtendOutcome> {
    return timed(this.extended, this.inner.extend(extension));
  }

  settle(tenantId: string, ended: readonly EndedHold[], posted: PostedBalance): Promise<void> {
    return timed(this.ended, this.inner.settle(tenantId, ended, posted));
  }

  release(tenantId: string, holdIds: readonly string[]): Promise<void> {
    return timed(this.ended, this.inner.release(tenantId, holdIds));
  }
}

function timed<T>(histogram: { observe(seconds: number): void }, work: Promise<T>): Promise<T> {
  const startedMs = performance.now();
  const observe = (): void => {
    histogram.observe((performance.now() - startedMs) / 1000);
  };
  return work.then(
    (result) => {
      observe();
      return result;
    },
    (error: unknown) => {
      observe();
      throw error;
    },
  );
}
