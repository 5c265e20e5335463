import { Inject, Injectable, Logger } from '@nestjs/common';
import type { TokenEstimate } from '../catalogue/price';
import { refuse, type Refusal } from '../kernel/errors';
import type { NanoUsd } from '../kernel/money';
import { Settings } from '../platform/config/settings';
import { QUOTA_STORE, QuotaUnavailableError, type QuotaStore, type ReserveOutcome } from '../quota/quota-store.port';
import type { Funding } from '../quota/scopes/scope';
import { ScopePlans } from '../quota/scopes/scope-plans';
import { type RateLimits, rateLimitsOf, rateLimitsOfRefusal } from './rate-limit-headers';
import { bindingLimit, countedBefore, type QuotedLimit, refusingLimit } from './quoted-limit';
import { holdRequestOf } from './workflow/hold-request';
import { RoutingStep } from './workflow/steps/routing.step';
import { TemplateRenderStep } from './workflow/steps/template-render.step';
import { ValidationStep } from './workflow/steps/validation.step';
import type { WorkflowContext } from './workflow/workflow.context';
import { WorkflowRunner } from './workflow/workflow.runner';
import type { WorkflowStep } from './workflow/workflow-step';

/** What would become of a call. */
export interface Quote {
  readonly passes: boolean;
  readonly estimate: NanoUsd;
  readonly tokens: TokenEstimate;
  /** Null where nobody would be charged. */
  readonly funding: Funding | null;
  readonly limit: QuotedLimit | undefined;
  /** What the reservation would be refused with; in shadow mode the call passes all the same. */
  readonly refusal: Refusal | undefined;
  readonly rateLimits: RateLimits;
}

/** Nothing is charged for a quote, so a key has nothing to protect. */
const KEYLESS: WorkflowStep = { name: 'idempotency', dependsOn: ['validation'], execute: () => undefined };

/**
 * Dry runs: the first steps of the workflow as a call meets them, then the reservation's question without the
 * reservation. Nothing is held, counted, written or sent to a provider.
 */
@Injectable()
export class Quotes {
  private readonly logger = new Logger(Quotes.name);
  private readonly runner: WorkflowRunner;

  constructor(
    validation: ValidationStep,
    routing: RoutingStep,
    templateRender: TemplateRenderStep,
    @Inject(QUOTA_STORE) private readonly store: QuotaStore,
    private readonly plans: ScopePlans,
    private readonly settings: Settings,
  ) {
    this.runner = new WorkflowRunner([validation, KEYLESS, routing, templateRender]);
  }

  /** A refusal: the call would not come so far as to be reserved for, or the quota cannot be asked. */
  async quote(context: WorkflowContext): Promise<Quote | Refusal> {
    const refusal = await this.runner.run(context);
    if (refusal) return refusal;
    const { request, tokens } = holdRequestOf(context);
    const estimate = request.amount;
    if (this.settings.runMode === 'simple') {
      return { passes: true, estimate, tokens, funding: null, limit: undefined, refusal: undefined, rateLimits: {} };
    }
    let outcome: ReserveOutcome;
    try {
      outcome = await this.store.quote(request);
    } catch (error) {
      if (!(error instanceof QuotaUnavailableError)) throw error;
      this.logger.debug(`a quote could not be given: ${error.message}`);
      return refuse('QUOTA_SERVICE_ERROR', { retryAfterMs: 1_000 });
    }
    if (!outcome.admitted) return { ...this.refused(outcome.refusal), estimate, tokens };
    const { hold } = outcome;
    const limits = this.plans.of(request);
    return {
      passes: true,
      estimate,
      tokens,
      funding: hold.funding,
      limit: bindingLimit(hold, request, limits),
      refusal: undefined,
      rateLimits: rateLimitsOf(countedBefore(hold, request), limits),
    };
  }

  private refused(refusal: Refusal): Omit<Quote, 'estimate' | 'tokens'> {
    return {
      passes: !this.settings.billingBlockOnInsufficient,
      funding: null,
      limit: refusingLimit(refusal),
      refusal,
      rateLimits: rateLimitsOfRefusal(refusal),
    };
  }
}
