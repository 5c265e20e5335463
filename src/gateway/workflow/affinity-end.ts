import type { Affinity, AffinityEnd } from '../../routing/affinity/affinity';
import type { Attempt } from './attempt';
import type { WorkflowContext } from './workflow.context';

/** How streams end that say nothing of their upstream: we or the client broke them off. */
const BROKEN_OFF = new Set(['client_left', 'cut_by_shutdown', 'refused']);

/** Once a call, whatever its end. */
export function reportAffinity(affinity: Affinity, context: WorkflowContext): void {
  if (!context.has('affinity')) return;
  const { choice } = context.affinity;
  if (!choice) return;
  const end = affinityEndOf(choice.upstreamId, context.attempts);
  if (!end) return;
  context.affinity.choice = undefined;
  affinity.report(choice, end);
}

/**
 * What a call tells its session: who answered it well in the end, or that its upstream failed. Nothing where its upstream
 * was not asked (the call could not be put to it), did its part (the fault was the caller's), or was broken off.
 */
export function affinityEndOf(chosenId: string, attempts: readonly Attempt[]): AffinityEnd | undefined {
  const chosen = attempts.find(({ facts }) => facts.upstream.target.upstreamId === chosenId);
  if (!chosen) return undefined;
  const last = attempts.at(-1)?.facts;
  if (last?.isServed === true && !last.isUpstreamFault && !BROKEN_OFF.has(last.outcome)) {
    return { kind: 'answered', upstreamId: last.upstream.target.upstreamId };
  }
  return chosen.facts.isUpstreamFault ? { kind: 'failed', upstreamId: chosenId } : undefined;
}
