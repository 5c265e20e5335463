import { Injectable } from '@nestjs/common';
import { PriceBook } from '../../../catalogue/price-book';
import type { FrozenPrice } from '../../../catalogue/price';
import { refuse } from '../../../kernel/errors';
import { ZERO_NANO_USD } from '../../../kernel/money';
import { Router } from '../../../routing/router';
import type { WorkflowContext } from '../workflow.context';
import type { StepOutcome, WorkflowStep } from '../workflow-step';

/** What an unpriced model costs a tenant whose policy serves it free; version null says so on the receipt. */
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
  perRequestNanoUsd: ZERO_NANO_USD,
  multiplierMillionths: 1_000_000n,
};

/** Upstream candidates in the order of attempts, and the price of the model that is served. */
@Injectable()
export class RoutingStep implements WorkflowStep {
  readonly name = 'routing';
  readonly dependsOn = ['validation'];

  constructor(
    private readonly router: Router,
    private readonly prices: PriceBook,
  ) {}

  async execute(context: WorkflowContext): Promise<StepOutcome> {
    const { chat } = context.validation;
    const { principal, receivedAtMs } = context.request;
    const candidates = await this.router.plan(chat.model);
    if ('code' in candidates) return candidates;
    const price = await this.prices.priceOf(chat.model, receivedAtMs);
    const profile = await this.prices.profileOf(chat.model);
    if (!price && principal.unknownPricePolicy === 'reject') {
      return refuse('MODEL_NOT_PRICED', { param: 'model', values: { model: chat.model } });
    }
    context.routing = { candidates, price: price ?? FREE, profile };
    return undefined;
  }
}
