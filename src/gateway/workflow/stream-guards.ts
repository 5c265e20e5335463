import { Injectable } from '@nestjs/common';
import { HoldCoverage } from '../../catalogue/hold-coverage';
import { nanoUsdFromDecimal, ZERO_NANO_USD } from '../../kernel/money';
import { Settings } from '../../platform/config/settings';
import { Metrics } from '../../platform/metrics/metrics';
import { TokenCounter } from '../stream/count-tokens';
import { type GuardRules, StreamGuard } from '../stream/stream-guard';
import { estimateInputOf } from './hold-request';
import type { WorkflowContext } from './workflow.context';

/** Makes the guard of each stream. */
@Injectable()
export class StreamGuards {
  private readonly rules: GuardRules;

  constructor(
    settings: Settings,
    private readonly counter: TokenCounter,
    private readonly metrics: Metrics,
  ) {
    this.rules = {
      refused: settings.streamGuard,
      overdraft: nanoUsdFromDecimal(settings.streamGuardOverdraftUsd),
      blocks: settings.billingBlockOnInsufficient,
    };
  }

  /**
   * Undefined where there is nothing to guard: nothing is held (RUN_MODE=simple, a price of zero), or shadow mode let the
   * call pass although nothing could be held for it, and has counted that.
   */
  of(context: WorkflowContext): StreamGuard | undefined {
    if (!context.has('quotaCheck')) return undefined;
    const { charge, reserved } = context.quotaCheck;
    if (charge.held.amount === ZERO_NANO_USD) return undefined;
    const { request } = context.validation;
    const { price, profile } = context.routing;
    const coverage = new HoldCoverage(estimateInputOf(request), profile, price);
    // An attempt before this one may have raised it.
    const covered = charge.held.amount === reserved ? coverage.reservedTokens : coverage.tokensFor(charge.held.amount);
    const imageTokens = request.images * profile.tokensPerImage;
    return new StreamGuard(
      charge,
      coverage,
      covered,
      price,
      this.rules,
      (answer) => this.counter.count(answer, request, imageTokens),
      this.metrics,
    );
  }
}
