import { invalid } from '../refusals';
import { instantOf } from '../validation/instant';

/** Clocks of administrators may be slow by this much. */
const PAST_SLACK_MS = 60_000;

/** From when on a new version counts: at once where nothing is said, never before now. Throws a refusal. */
export function effectiveFromOf(text: string | undefined, nowMs: number): Date {
  if (text === undefined) return new Date(nowMs);
  const effectiveFrom = instantOf(text, 'effective_from');
  if (effectiveFrom.getTime() < nowMs - PAST_SLACK_MS) throw invalid('effective_from', 'must not lie in the past');
  return effectiveFrom;
}
