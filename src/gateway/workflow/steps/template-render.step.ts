import { Injectable } from '@nestjs/common';
import type { Refusal } from '../../../kernel/errors';
import type { RoutableUpstream } from '../../../upstreams/upstream-directory';
import type { ApiDialect } from '../../../upstreams/upstream.port';
import { DIALECTS } from '../../dialects/dialects';
import type { InferenceRequest } from '../../dialects/inference-request';
import { invalid } from '../../dialects/invalid-request';
import { TranslatedBodies } from '../translated-bodies';
import { wireDialectOf } from '../wire-dialect';
import type { WorkflowContext } from '../workflow.context';
import type { StepOutcome, WorkflowStep } from '../workflow-step';

type BodyFor = (candidate: RoutableUpstream) => Buffer;

/**
 * The request in the provider's dialect. Where that is the client's own, its bytes are rendered when it is the candidate's
 * turn. A translation is made here, before anything is reserved: it may find that the provider's dialect has no words for
 * what was asked. Such a candidate is none, and where no other is left the first refusal is the answer.
 */
@Injectable()
export class TemplateRenderStep implements WorkflowStep {
  readonly name = 'template_render';
  readonly dependsOn = ['routing'];

  execute(context: WorkflowContext): StepOutcome {
    const { request } = context.validation;
    const { candidates, profile } = context.routing;
    const translated = new TranslatedBodies(request, profile);
    const bodies = new Map<RoutableUpstream, { readonly wire: ApiDialect; readonly bodyFor: BodyFor }>();
    let firstRefusal: Refusal | undefined;
    for (const candidate of candidates) {
      const wire = wireDialectOf(candidate, request.dialect);
      const bodyFor = wire === undefined ? unspoken(request) : bodyIn(wire, candidate, request, translated);
      if (typeof bodyFor !== 'function') firstRefusal ??= bodyFor;
      else if (wire !== undefined) bodies.set(candidate, { wire, bodyFor });
    }
    if (bodies.size === 0 && firstRefusal) return firstRefusal;
    const of = (candidate: RoutableUpstream): { readonly wire: ApiDialect; readonly bodyFor: BodyFor } => {
      const found = bodies.get(candidate);
      if (!found) throw new Error('a call is rendered for one of its candidates');
      return found;
    };
    context.templateRender = {
      candidates: [...bodies.keys()],
      wireOf: (candidate) => of(candidate).wire,
      bodyFor: (candidate) => of(candidate).bodyFor(candidate),
    };
    return undefined;
  }
}

function bodyIn(
  wire: ApiDialect,
  candidate: RoutableUpstream,
  request: InferenceRequest,
  translated: TranslatedBodies,
): BodyFor | Refusal {
  if (wire === request.dialect) {
    return ({ target }) => DIALECTS[wire].passOn(request, target.upstreamModel);
  }
  const body = translated.of(wire, candidate.target.upstreamModel);
  return Buffer.isBuffer(body) ? () => body : body;
}

function unspoken({ dialect, model }: InferenceRequest): Refusal {
  return invalid('model', `${model} is not offered for ${dialect}`);
}
