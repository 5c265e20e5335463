import { Metrics } from '../platform/metrics/metrics';
import type { HoldRequest, PostedBalance, QuotaStore, ReserveOutcome } from './quota-store.port';

/** Times each script's round trip around a store. */
export class MeteredQuotaStore implements QuotaStore {
  private readonly deduct;
  private readonly settled;
  private readonly released;

  constructor(
    private readonly inner: QuotaStore,
    metrics: Metrics,
  ) {
    this.deduct = metrics.redisLuaSeconds.of('quota_deduct');
    this.settled = metrics.redisLuaSeconds.of('quota_settle');
    this.released = metrics.redisLuaSeconds.of('quota_release');
  }

  reserve(hold: HoldRequest): Promise<ReserveOutcome> {
    return timed(this.deduct, this.inner.reserve(hold));
  }

  settle(tenantId: string, holdIds: readonly string[], posted: PostedBalance): Promise<void> {
    return timed(this.settled, this.inner.settle(tenantId, holdIds, posted));
  }

  release(tenantId: string, holdIds: readonly string[]): Promise<void> {
    return timed(this.released, this.inner.release(tenantId, holdIds));
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
