import { Injectable, Logger } from '@nestjs/common';
import { MultipliedPrices } from '../../../catalogue/multiplied-prices';
import { PriceBook } from '../../../catalogue/price-book';
import { type FrozenPrice, type ModelProfile, UNSCALED_MULTIPLIER_MILLIONTHS } from '../../../catalogue/price';
import { type Refusal, refuse } from '../../../kernel/errors';
import { ZERO_NANO_USD } from '../../../kernel/money';
import { Settings } from '../../../platform/config/settings';
import { REGION, REGION_HEADER } from '../../../routing/region';
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

/** Which model is meant, upstream candidates in the order of attempts, and the price of the model that is served. */
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
    const { region } = context.request;
    if (region !== undefined && !REGION.test(region)) {
      return refuse('INVALID_REQUEST', { param: REGION_HEADER, values: { reason: 'must be a tag such as eu' } });
    }
    const found = this.find(context);
    if (!(found instanceof Promise)) return this.decide(context, found);
    return this.awaited(found).then((late) => this.decide(context, late));
  }

  private decide(context: WorkflowContext, found: Found | Refusal): StepOutcome {
    if ('code' in found) return found;
    const { model, candidates, price, profile } = found;
    const { unknownPricePolicy, priceMultiplierMillionths } = context.request.principal;
    if (!price && this.isCharged && unknownPricePolicy === 'reject') {
      return refuse('MODEL_NOT_PRICED', { param: 'model', values: { model } });
    }
    context.routing = { model, candidates, price: price ?? this.free.of(FREE, priceMultiplierMillionths), profile };
    return undefined;
  }

  private find(context: WorkflowContext): Found | Refusal | Promise<Found | Refusal> {
    const asked = context.request.standIn ?? context.validation.request.model;
    const model = this.router.modelOf(asked);
    if (!(model instanceof Promise)) return this.findModel(context, asked, model);
    return model.then((late) => this.findModel(context, asked, late));
  }

  /** A key that may use either name may use the model. */
  private findModel(
    context: WorkflowContext,
    asked: string,
    model: string,
  ): Found | Refusal | Promise<Found | Refusal> {
    const { receivedAtMs, region, principal } = context.request;
    const { allowedModels, priceMultiplierMillionths } = principal;
    if (allowedModels && !allowedModels.has(asked) && !allowedModels.has(model)) {
      return refuse('MODEL_NOT_ALLOWED', { param: 'model', values: { model: asked } });
    }
    const candidates = this.router.plan(model, region);
    const price = this.prices.priceOf(model, receivedAtMs, priceMultiplierMillionths);
    const profile = this.prices.profileOf(model);
    if (candidates instanceof Promise || price instanceof Promise || profile instanceof Promise) {
      const lookUps = Promise.all([candidates, price, profile]);
      return lookUps.then(([late, ...known]) => foundOf(model, late, ...known));
    }
    return foundOf(model, candidates, price, profile);
  }

  /** Where memory is not to be trusted and Postgres does not answer, a call cannot be priced: it may come again. */
  private async awaited(lookUps: Promise<Found | Refusal>): Promise<Found | Refusal> {
    try {
      const found = await lookUps;
      this.isFailing = false;
      return found;
    } catch (error) {
      // Once until a look-up succeeds again: an outage must not write a line for each refused call.
      if (!this.isFailing) this.logger.error({ msg: 'upstreams and prices cannot be looked up', err: error });
      this.isFailing = true;
      return refuse('BILLING_SERVICE_ERROR', { retryAfterMs: 1_000 });
    }
  }
}

interface Found {
  readonly model: string;
  readonly candidates: readonly RoutableUpstream[];
  readonly price: FrozenPrice | undefined;
  readonly profile: ModelProfile;
}

function foundOf(
  model: string,
  candidates: Found['candidates'] | Refusal,
  price: Found['price'],
  profile: ModelProfile,
): Found | Refusal {
  return 'code' in candidates ? candidates : { model, candidates, price, profile };
}
