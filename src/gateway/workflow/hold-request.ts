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
 * What a call that was rendered for its candidates asks of the quota: quota_check reserves it, a quote only asks. Limits by platform are
 * those of the first candidate: a failover to another kind of provider stays within the hold it has.
 */
export function holdRequestOf(context: WorkflowContext): EstimatedHold {
  const { request: asked } = context.validation;
  const { model, price, profile } = context.routing;
  const { principal, traceId, channel } = context.request;
  const [first] = context.templateRender.candidates;
  if (!first) throw new Error('a call that was rendered has no candidate');
  const input = estimateInputOf(asked);
  const tokens = estimateTokens(input, profile);
  const request: HoldRequest = {
    holdId: newId(),
    limits: principal.limits,
    amount: estimateCost(input, profile, price),
    tokens: tokens.inputTokens + tokens.outputTokens,
    service: asked.dialect === 'openai-embeddings' ? 'embeddings' : 'chat',
    platform: first.kind,
    pending: pendingRow({
      traceId,
      channel,
      isStream: asked.stream,
      apiKeyId: principal.apiKeyId,
      apiKeyName: principal.apiKeyName,
      model,
      price,
      inputTokens: tokens.inputTokens,
    }),
  };
  return { request, tokens };
}

/** What of a request the estimate is made of. */
export function estimateInputOf(request: InferenceRequest): EstimateInput {
  return {
    textBytes: request.promptTextBytes + (request.unseenTextBytes ?? 0),
    images: request.images,
    audioParts: request.audioParts,
    audioDataBytes: request.audioDataBytes,
    maxOutputTokens: request.maxOutputTokens,
    choices: request.choices,
    asksForAudio: request.asksForAudio,
    asksForImages: request.asksForImages,
  };
}
