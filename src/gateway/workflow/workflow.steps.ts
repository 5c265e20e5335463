import type { Type } from '@nestjs/common';
import type { Settings } from '../../platform/config/settings';
import { AffinityReportStep } from './steps/affinity-report.step';
import { AffinityStep } from './steps/affinity.step';
import { AnswerKeepStep } from './steps/answer-keep.step';
import { BillingStep } from './steps/billing.step';
import { IdempotencyStep } from './steps/idempotency.step';
import { QuotaCheckStep } from './steps/quota-check.step';
import { ResponseTransformStep } from './steps/response-transform.step';
import { RoutingStep } from './steps/routing.step';
import { SimpleBillingStep } from './steps/simple-billing.step';
import { SimpleQuotaCheckStep } from './steps/simple-quota-check.step';
import { TemplateRenderStep } from './steps/template-render.step';
import { UpstreamCallStep } from './steps/upstream-call.step';
import { UsageRecordStep } from './steps/usage-record.step';
import { ValidationStep } from './steps/validation.step';
import type { WorkflowStep } from './workflow-step';

/**
 * READ THIS FIRST: the way of a request, step by step. Each step names what it depends on; the runner orders them at
 * boot, runs independent ones side by side and compensates in reverse.
 *
 *   validation ─► idempotency ─► routing ─► template_render ─► affinity ─► quota_check ─► upstream_call
 *   shape, model   claim or replay  who, price  provider's body   the session's  reserve        attempts, pump
 *                                                                 upstream first
 *
 *     ─► response_transform ─► answer_keep ─► billing ─► usage_record
 *        tokens counted         for a replay    settle     counts
 *     ─► affinity_report
 *        the session is told who answered
 *
 * A call whose Idempotency-Key has an answer ends in `idempotency`, with that answer; one without a key passes it and
 * `answer_keep` untouched.
 * A stream is pumped inside upstream_call: what follows runs when it has ended, for whatever reason, and its terminal
 * frame leaves after billing.
 */
export const WORKFLOW_STEP_CLASSES: readonly Type<WorkflowStep>[] = [
  ValidationStep,
  IdempotencyStep,
  RoutingStep,
  TemplateRenderStep,
  AffinityStep,
  QuotaCheckStep,
  UpstreamCallStep,
  AffinityReportStep,
  ResponseTransformStep,
  AnswerKeepStep,
  BillingStep,
  UsageRecordStep,
];

/** RUN_MODE=simple: each takes the place of the step of its name, and no money is asked, held or charged. */
export const SIMPLE_STEP_CLASSES: readonly Type<WorkflowStep>[] = [SimpleQuotaCheckStep, SimpleBillingStep];

/** The steps of this process. */
export function stepsOf(
  runMode: Settings['runMode'],
  standard: readonly WorkflowStep[],
  simple: readonly WorkflowStep[],
): readonly WorkflowStep[] {
  if (runMode === 'standard') return standard;
  return standard.map((step) => simple.find(({ name }) => name === step.name) ?? step);
}
