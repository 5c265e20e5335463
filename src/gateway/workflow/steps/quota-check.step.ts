import { Inject, Injectable, Logger } from '@nestjs/common';
import { refuse, type Refusal } from '../../../kernel/errors';
import { Charges } from '../../../billing/settlement/charges';
import { Metrics } from '../../../platform/metrics/metrics';
import {
  QUOTA_STORE,
  QuotaUnavailableError,
  type QuotaStore,
  type ReserveOutcome,
} from '../../../quota/quota-store.port';
import { ScopePlans } from '../../../quota/scopes/scope-plans';
import { houseCostsOf } from '../attempt';
import { holdRequestOf } from '../hold-request';
import type { WorkflowContext } from '../workflow.context';
import type { StepOutcome, WorkflowStep } from '../workflow-step';

/** Estimates what will be sent and reserves it in every scope; the hold's PENDING row is on its way afterwards. */
@Injectable()
export class QuotaCheckStep implements WorkflowStep {
  readonly name = 'quota_check';
  readonly dependsOn = ['routing', 'template_render', 'affinity'];
  private readonly logger = new Logger(QuotaCheckStep.name);

  constructor(
    @Inject(QUOTA_STORE) private readonly store: QuotaStore,
    private readonly charges: Charges,
    private readonly plans: ScopePlans,
    private readonly metrics: Metrics,
  ) {}

  async execute(context: WorkflowContext): Promise<StepOutcome> {
    const isOpen = this.charges.opens(context.request.traceId);
    try {
      return await this.reserve(context);
    } finally {
      isOpen();
    }
  }

  private async reserve(context: WorkflowContext): Promise<StepOutcome> {
    const startedMs = performance.now();
    const { request } = holdRequestOf(context);
    let outcome: ReserveOutcome;
    try {
      outcome = await this.store.reserve(request);
    } catch (error) {
      if (!(error instanceof QuotaUnavailableError)) throw error;
      if (error.mayHold) this.charges.abandonReserve(request.limits.tenantId, request.holdId);
      return this.refused(refuse('QUOTA_SERVICE_ERROR', { retryAfterMs: 1_000 }));
    } finally {
      this.metrics.quotaCheckSeconds.observe((performance.now() - startedMs) / 1000);
    }
    if (!outcome.admitted) return this.refused(outcome.refusal);
    const { hold } = outcome;
    const charge = this.charges.begin(hold, request, context.routing.price);
    if ('code' in charge) return this.refused(charge);
    this.metrics.quotaCheckPassed.inc();
    context.quotaCheck = {
      charge,
      limits: this.plans.of(request),
      reserved: hold.amount,
      balanceBefore: hold.balanceBefore,
      balanceAfter: hold.balanceAfter,
    };
    return undefined;
  }

  /** Nobody waits for the void: it is retried until it stands, and the hold is released after it. */
  compensate(context: WorkflowContext, cause: Refusal): void {
    const { charge } = context.quotaCheck;
    if (charge.isEnding) return;
    const houseCosts = houseCostsOf(context.attempts);
    charge.void({ reasonCode: cause.code, endReason: 'failed', houseCosts }).catch((error: unknown) => {
      this.logger.error({ msg: 'a charge could not be voided', traceId: context.request.traceId, err: error });
    });
  }

  private refused(refusal: Refusal): Refusal {
    this.metrics.quotaCheckFailed.of(refusal.code).inc();
    return refusal;
  }
}
