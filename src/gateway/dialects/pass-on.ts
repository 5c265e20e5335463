import type { InferenceRequest } from './inference-request';
import { memberOf, rebuildMembers, spliceMembers } from './top-level-scan';

const OURS: ReadonlySet<string> = new Set(['session_id']);

/**
 * What a provider of the client's dialect is sent: the client's bytes where nothing has to change, with the provider's name
 * of the model, without `session_id`, which is ours (it names a conversation).
 * @param changes JSON texts of members that must be others than the client's; added to
 */
export function passOnBytes(
  { raw, layout, model }: InferenceRequest,
  upstreamModel: string,
  changes = new Map<string, string>(),
): Buffer {
  if (model !== upstreamModel) changes.set('model', JSON.stringify(upstreamModel));
  if (memberOf(layout, 'session_id')) return rebuildMembers(raw, layout, { without: OURS, values: changes });
  return changes.size === 0 ? raw : spliceMembers(raw, layout, changes);
}
