import { Injectable, Logger } from '@nestjs/common';
import { refuse, type Refusal } from '../../../kernel/errors';
import { Settings } from '../../../platform/config/settings';
import { Metrics } from '../../../platform/metrics/metrics';
import { houseCostsOf } from '../attempt';
import type { WorkflowContext } from '../workflow.context';
import type { StepOutcome, WorkflowStep } from '../workflow-step';

const LATE = Symbol('late');
type Late<T> = T | Refusal | typeof LATE;

/**
 * Settles: answered means charged, so the whole body or the terminal frame waits for the commit. Where Postgres does not
 * take it in time, an answer whose PENDING row stands leaves all the same and its settle is retried until it stands; a
 * call that has no row yet is refused and voided.
 */
@Injectable()
export class BillingStep implements WorkflowStep {
  readonly name = 'billing';
  readonly dependsOn = ['answer_keep'];
  private readonly logger = new Logger(BillingStep.name);

  constructor(
    private readonly settings: Settings,
    private readonly metrics: Metrics,
  ) {}

  async execute(context: WorkflowContext): Promise<StepOutcome> {
    const { charge } = context.quotaCheck;
    const { tokens, used, method, endReason, reasonCode, isFree } = context.responseTransform;
    const { attempt } = context.upstreamCall;
    const { servedBy } = attempt;
    attempt.bill(isFree ? 'house' : 'tenant', used);
    const houseCosts = houseCostsOf(context.attempts);
    if (isFree) {
      await this.inTime(
        charge.void({ reasonCode: 'BROKEN_STREAM', endReason, servedBy, houseCosts }).then(() => undefined),
        () => LATE,
      );
      context.billing = { charged: undefined };
      return undefined;
    }
    const { upstreamCost } = attempt;
    const settlement = { tokens, method, endReason, reasonCode, servedBy, upstreamCost, houseCosts };
    const settled = await this.inTime(charge.settle(settlement), () => {
      if (charge.withdraw()) return refuse('BILLING_SERVICE_ERROR', { retryAfterMs: 1_000 });
      this.metrics.answersBeforeSettle.inc();
      return LATE;
    });
    if (settled === undefined || (settled !== LATE && 'code' in settled)) {
      attempt.bill('house', used);
      return settled ?? refuse('INTERNAL_ERROR');
    }
    context.isPastNoReturn = true;
    context.billing = { charged: settled === LATE ? undefined : settled };
    return undefined;
  }

  /** What the write came to; what `onLate` says after the longest wait; undefined for a row that Postgres will never take. */
  private inTime<T>(write: Promise<T>, onLate: () => Late<T>): Promise<Late<T> | undefined> {
    const { promise, resolve } = Promise.withResolvers<Late<T> | undefined>();
    const timer = setTimeout(() => {
      resolve(onLate());
    }, this.settings.billingWaitMs);
    write
      .then(resolve, (error: unknown) => {
        this.logger.error({ msg: 'a charge could not be written', err: error });
        this.metrics.billingDeductFailure.of('refused_row').inc();
        resolve(undefined);
      })
      .finally(() => {
        clearTimeout(timer);
      });
    return promise;
  }
}
