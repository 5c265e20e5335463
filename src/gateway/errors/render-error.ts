import type { Refusal } from '../../kernel/errors';
import type { ApiDialect } from '../../upstreams/upstream.port';
import { renderAnthropicError } from './anthropic-error';
import { renderOpenAiError } from './openai-error';
import type { RefusedRequest, RenderedError } from './rendered-error';

/** Whose clients read an error. */
export type ErrorDialect = 'openai' | 'anthropic';

export const ERROR_DIALECTS: Readonly<Record<ApiDialect, ErrorDialect>> = {
  'openai-chat': 'openai',
  'openai-responses': 'openai',
  'openai-embeddings': 'openai',
  'anthropic-messages': 'anthropic',
};

/** The refusal as the caller's client knows errors: status, headers and body. */
export function renderError(dialect: ErrorDialect, refusal: Refusal, request: RefusedRequest): RenderedError {
  return dialect === 'anthropic' ? renderAnthropicError(refusal, request) : renderOpenAiError(refusal, request);
}

/** JSON of the event that ends a stream badly; responses and messages name the event `error` beside it. */
export function renderErrorEvent(dialect: ApiDialect, refusal: Refusal, request: RefusedRequest): string {
  if (dialect !== 'openai-responses')
    return JSON.stringify(renderError(ERROR_DIALECTS[dialect], refusal, request).body);
  const { code, message, param } = renderOpenAiError(refusal, request).body.error;
  // Clients demand a number and none counts by it; which one it would be nobody knows where bytes pass through.
  return JSON.stringify({ type: 'error', code, message, param, sequence_number: 0 });
}
