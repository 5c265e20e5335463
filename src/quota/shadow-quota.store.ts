import { ZERO_NANO_USD } from '../kernel/money';
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
import { type CallerLimits, NO_LIMITS, type SubscriptionLimits } from './scopes/caller-limits';

/**
 * Shadow mode (BILLING_BLOCK_ON_INSUFFICIENT=false) around a store: what a limit or the balance refuses is counted, and
 * passes. It is reserved again without limits, so that its charge exists, is paid by who would have paid it, and counts
 * in no window: what is refused never does.
 *
 * Where the balance is what does not suffice, nothing is held, which needs no cover. The credit limit stays as it is: a
 * hold under a larger one would let the wallet down to that, but it pays down to its own limit and the rest stands in
 * overrun, which the next credit repays first. So "available at admission ≥ the hold" holds for every row.
 *
 * A quote says what would be refused; an outage is no refusal and stops the call here too.
 */
export class ShadowQuotaStore implements QuotaStore {
  private readonly unlimited = new WeakMap<CallerLimits, CallerLimits>();

  constructor(
    private readonly inner: QuotaStore,
    private readonly metrics: Metrics,
  ) {}

  async reserve(hold: HoldRequest): Promise<ReserveOutcome> {
    const outcome = await this.inner.reserve(hold);
    if (outcome.admitted) return outcome;
    const { code } = outcome.refusal;
    const limits = this.unlimitedOf(hold.limits);
    const covered = await this.inner.reserve({ ...hold, limits });
    const passed = covered.admitted ? covered : await this.inner.reserve({ ...hold, limits, amount: ZERO_NANO_USD });
    if (passed.admitted) {
      this.metrics.quotaCheckFailed.of(code).inc();
      this.metrics.quotaRefusalsPassed.of(code).inc();
    }
    return passed;
  }

  quote(hold: HoldRequest): Promise<ReserveOutcome> {
    return this.inner.quote(hold);
  }

  /** A stream may not outgrow its hold here either: who asks decides what that means for it. */
  extend(extension: HoldExtension): Promise<ExtendOutcome> {
    return this.inner.extend(extension);
  }

  settle(tenantId: string, ended: readonly EndedHold[], posted: PostedBalance): Promise<void> {
    return this.inner.settle(tenantId, ended, posted);
  }

  release(tenantId: string, holdIds: readonly string[]): Promise<void> {
    return this.inner.release(tenantId, holdIds);
  }

  /** The same object for the same caller: what follows from limits is remembered by them. */
  private unlimitedOf(limits: CallerLimits): CallerLimits {
    let unlimited = this.unlimited.get(limits);
    if (!unlimited) {
      unlimited = withoutLimits(limits);
      this.unlimited.set(limits, unlimited);
    }
    return unlimited;
  }
}

/** Names the counters of limits, of which it has none. */
const NO_SUBSCRIPTION_ID = '';

/**
 * Who pays stays as it is: free calls are free, and a key in a subscription group pays by subscription, over its limits,
 * past its end, and where there is none. It never pays with the tenant's own money, so shadow mode takes none for it.
 */
function withoutLimits(limits: CallerLimits): CallerLimits {
  const { subscription, allowances } = limits;
  return { ...limits, ...NO_LIMITS, allowances, subscription: subscription && endless(subscription) };
}

function endless(subscription: SubscriptionLimits | 'none'): SubscriptionLimits {
  return {
    subscriptionId: subscription === 'none' ? NO_SUBSCRIPTION_ID : subscription.subscriptionId,
    day: null,
    week: null,
    month: null,
    isActive: true,
    startsAtMs: Number.NEGATIVE_INFINITY,
    endsAtMs: Number.POSITIVE_INFINITY,
  };
}
