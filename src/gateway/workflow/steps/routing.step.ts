import { Injectable, Logger } from '@nestjs/common';
import { MultipliedPrices } from '../../../catalogue/multiplied-prices';
import { PriceBook } from '../../../catalogue/price-book';
import { type FrozenPrice, type ModelProfile, UNSCALED_MULTIPLIER_MILLIONTHS } from '../../../catalogue/price';
import { type Refusal, refuse } from '../../../kernel/errors';
import { ZERO_NANO_USD } from '../../../kernel/money';
import { Settings } from '../../../platform/config/settings';
import { Router } from '../../../routing/router';
import type { RoutableUpstream } from '../../../upstreams/upstream-directory';
import type { WorkflowContext } from '../workflow.context';
import type { StepOutcome, WorkflowStep } from '../workflow-step';

/** What an unpriced model costs where it is served all the same; version null says so on the receipt. */
const FREE: FrozenPrice = {
  version: null,
  perMillionTokens: {
    inputUncached: 0n,
    inputCached: 0n,
    cacheWrite: 0n,
    output: 0n,
    reasoning: 0n,
    audio: 0n,
    image: 0n,
  },
  tiers: [],
  perRequestNanoUsd: ZERO_NANO_USD,
  multiplierMillionths: UNSCALED_MULTIPLIER_MILLIONTHS,
};

/** Upstream candidates in the order of attempts, and the price of the model that is served. */
@Injectable()
export class RoutingStep implements WorkflowStep {
  readonly name = 'routing';
  readonly dependsOn = ['idempotency'];
  private readonly logger = new Logger(RoutingStep.name);
  private readonly isCharged: boolean;
  private isFailing = false;
  /** Free times the caller's multiplier is free, but says what a price would have been multiplied by. */
  private readonly free = new MultipliedPrices();

  constructor(
    private readonly router: Router,
    private readonly prices: PriceBook,
    settings: Settings,
  ) {
    this.isCharged = settings.runMode !== 'simple';
  }

  /** At once where memory knows candidates and price, which is the rule. */
  execute(context: WorkflowContext): StepOutcome | Promise<StepOutcome> {
    const { request } = context.validation;
    const { receivedAtMs, principal } = context.request;
    const found = this.find(request.model, receivedAtMs, principal.priceMultiplierMillionths);
    return found instanceof Promise ? found.then((late) => this.decide(context, late)) : this.decide(context, found);
  }

  private decide(context: WorkflowContext, found: Found | Refusal): StepOutcome {
    if ('code' in found) return found;
    const { candidates, price, profile } = found;
    const { model } = context.validation.request;
    if (!price && this.isCharged && context.request.principal.unknownPricePolicy === 'reject') {
      return refuse('MODEL_NOT_PRICED', { param: 'model', values: { model } });
    }
    const { priceMultiplierMillionths } = context.request.principal;
    context.routing = { candidates, price: price ?? this.free.of(FREE, priceMultiplierMillionths), profile };
    return undefined;
  }

  private find(model: string, atMs: number, multiplierMillionths: bigint): Found | Refusal | Promise<Found | Refusal> {
    const candidates = this.router.plan(model);
    const price = this.prices.priceOf(model, atMs, multiplierMillionths);
    const profile = this.prices.profileOf(model);
    if (candidates instanceof Promise || price instanceof Promise || profile instanceof Promise) {
      return this.awaited(Promise.all([candidates, price, profile]));
    }
    return 'code' in candidates ? candidates : { candidates, price, profile };
  }

  /** Where memory is not to be trusted and Postgres does not answer, a call cannot be priced: it may come again. */
  private async awaited(
    lookUps: Promise<[Found['candidates'] | Refusal, Found['price'], Found['profile']]>,
  ): Promise<Found | Refusal> {
    try {
      const [candidates, price, profile] = await lookUps;
      this.isFailing = false;
      return 'code' in candidates ? candidates : { candidates, price, profile };
    } catch (error) {
      // Once until a look-up succeeds again: an outage must not write a line for each refused call.
      if (!this.isFailing) this.logger.error({ msg: 'upstreams and prices cannot be looked up', err: error });
      this.isFailing = true;
      return refuse('BILLING_SERVICE_ERROR', { retryAfterMs: 1_000 });
    }
  }
}

interface Found {
  readonly candidates: readonly RoutableUpstream[];
  readonly price: FrozenPrice | undefined;
  readonly profile: ModelProfile;
}
