import { REGION_HEADER } from '../routing/region';
import type { ApiDialect } from '../upstreams/upstream.port';
import { ERROR_DIALECTS } from './errors/render-error';
import { anthropicRateLimitHeaders, openAiRateLimitHeaders, rateLimitsOf } from './rate-limit-headers';
import type { WorkflowContext } from './workflow/workflow.context';

type Headers = Readonly<Record<string, string>>;

/**
 * Which upstream answers, its region where it has one, and which model where it is not the one that was asked for; the same
 * for whoever is sent the answer again.
 */
export function servedHeaders(context: WorkflowContext): Record<string, string> {
  const upstream = context.respondingUpstream;
  if (upstream === undefined) return {};
  const region = context.respondingRegion;
  return {
    'x-tollgate-upstream': headerText(upstream),
    ...(region === undefined ? {} : { [REGION_HEADER]: region }),
    ...modelHeaders(context),
  };
}

function modelHeaders({ request, routing, validation }: WorkflowContext): Headers {
  const asked = validation.request.model;
  return {
    ...(routing.model === asked ? {} : { 'x-tollgate-model': headerText(routing.model) }),
    ...(request.standIn === undefined ? {} : { 'x-tollgate-fallback-from': headerText(asked) }),
  };
}

/** Limits as they were when the call was admitted; of one that was not, its refusal tells. */
export function limitHeaders(context: WorkflowContext, nowMs: number): Headers {
  if (!context.has('quotaCheck')) return {};
  const { charge, limits } = context.quotaCheck;
  const binding = rateLimitsOf(charge.held.counted, limits);
  return isAnthropic(context.request.dialect)
    ? anthropicRateLimitHeaders(binding)
    : openAiRateLimitHeaders(binding, nowMs);
}

/** How long the gateway had the call, as OpenAI tells it. */
export function processingHeaders(dialect: ApiDialect, durationMs: number): Headers {
  return isAnthropic(dialect) ? {} : { 'openai-processing-ms': String(Math.round(durationMs)) };
}

/** Clients of Anthropic's look for the id under another name than everybody else. */
export function idHeaders(dialect: ApiDialect, traceId: string): Headers {
  return isAnthropic(dialect) ? { 'x-request-id': traceId, 'request-id': traceId } : { 'x-request-id': traceId };
}

function isAnthropic(dialect: ApiDialect): boolean {
  return ERROR_DIALECTS[dialect] === 'anthropic';
}

/** A name that people gave, in any script: what HTTP takes of it, the rest as in a URL. */
function headerText(name: string): string {
  return name.toWellFormed().replace(/[^\x20-\x7e]+/gu, encodeURIComponent);
}
