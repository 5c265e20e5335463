import { Injectable } from '@nestjs/common';
import { Affinity, type ChosenOrder } from '../../../routing/affinity/affinity';
import { UpstreamDirectory } from '../../../upstreams/upstream-directory';
import { reportAffinity } from '../affinity-end';
import { sessionNameOf } from '../session-name';
import type { WorkflowContext } from '../workflow.context';
import type { StepOutcome, WorkflowStep } from '../workflow-step';

/**
 * Of a call that names a session: the upstream that answered the session before is asked first. After routing and
 * rendering, so that only what can be asked is chosen; and no part of a quote, which writes nothing.
 */
@Injectable()
export class AffinityStep implements WorkflowStep {
  readonly name = 'affinity';
  readonly dependsOn = ['template_render'];

  constructor(
    private readonly affinity: Affinity,
    private readonly directory: UpstreamDirectory,
  ) {}

  execute(context: WorkflowContext): StepOutcome | Promise<StepOutcome> {
    const sessionId = sessionNameOf(context);
    if (sessionId === undefined) return undefined;
    const { principal, region } = context.request;
    const { model } = context.routing;
    if (this.hasOneUpstream(model)) return undefined;
    const session = { tenantId: principal.tenantId, sessionId, model, region };
    const chosen = this.affinity.choose(session, context.templateRender.candidates);
    return chosen instanceof Promise ? chosen.then((late) => this.order(context, late)) : this.order(context, chosen);
  }

  /** A call that failed is the last word of its session, unless it never asked the session's upstream. */
  compensate(context: WorkflowContext): void {
    reportAffinity(this.affinity, context);
  }

  /** Whether there is nothing to choose, now or later. */
  private hasOneUpstream(model: string): boolean {
    const known = this.directory.candidatesOf(model);
    return !(known instanceof Promise) && known?.length === 1;
  }

  private order(context: WorkflowContext, { candidates, choice }: ChosenOrder): StepOutcome {
    context.templateRender = { ...context.templateRender, candidates };
    context.affinity = { choice };
    return undefined;
  }
}
