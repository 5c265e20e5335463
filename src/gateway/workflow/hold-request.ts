import { pendingRow } from '../../billing/writer/charge-rows';
import { type EstimateInput, estimateCost, estimateTokens, type TokenEstimate } from '../../catalogue/price';
import { newId } from '../../kernel/ids';
import type { HoldRequest } from '../../quota/quota-store.port';
import type { InferenceRequest } from '../dialects/inference-request';
import type { WorkflowContext } from './workflow.context';

export interface EstimatedHold {
  readonly request: HoldRequest;
  readonly tokens: TokenEstimate;
}

/**
 * What a validated and routed call asks of the quota: quota_check reserves it, a quote only asks. Limits by platform are
 * those of the first candidate: a failover to another kind of provider stays within the hold it has.
 */
export function holdRequestOf(context: WorkflowContext): EstimatedHold {
  const { chat } = context.validation;
  const { candidates, price, profile } = context.routing;
  const { principal, traceId, channel } = context.request;
  const [first] = candidates;
  if (!first) throw new Error('a routed call has no candidate');
  const input = estimateInputOf(chat);
  const tokens = estimateTokens(input, profile);
  const request: HoldRequest = {
    holdId: newId(),
    limits: principal.limits,
    amount: estimateCost(input, profile, price),
    tokens: tokens.inputTokens + tokens.outputTokens,
    service: 'chat',
    platform: first.kind,
    pending: pendingRow({
      traceId,
      channel,
      isStream: chat.stream,
      apiKeyId: principal.apiKeyId,
      apiKeyName: principal.apiKeyName,
      model: chat.model,
      price,
      inputTokens: tokens.inputTokens,
    }),
  };
  return { request, tokens };
}

/** What of a request the estimate is made of. */
export function estimateInputOf(chat: InferenceRequest): EstimateInput {
  return {
    textBytes: chat.promptTextBytes,
    images: chat.images,
    audioParts: chat.audioParts,
    audioDataBytes: chat.audioDataBytes,
    maxOutputTokens: chat.maxOutputTokens,
    choices: chat.choices,
    asksForAudio: chat.asksForAudio,
    asksForImages: chat.asksForImages,
  };
}
