import { ERROR_SPECS, refusalStatus, type ErrorCode, type Refusal } from '../../kernel/errors';
import { renderMessage } from '../../platform/i18n/render-message';
import { openAiRateLimitHeaders, rateLimitsOfRefusal } from '../rate-limit-headers';
import { type RefusedRequest, type RenderedError, retryHeadersOf } from './rendered-error';

/** The error body of the OpenAI API; `code` is our stable code. The control plane answers in the same shape. */
export interface OpenAiErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: ErrorCode;
    /** RFC 3339: when the refused window ends. */
    readonly window_resets_at?: string;
  };
}

export function renderOpenAiError(
  refusal: Refusal,
  { locale, nowMs }: Pick<RefusedRequest, 'locale' | 'nowMs'>,
): RenderedError<OpenAiErrorBody> {
  return {
    status: refusalStatus(refusal),
    headers: {
      ...retryHeadersOf(refusal, nowMs),
      ...openAiRateLimitHeaders(rateLimitsOfRefusal(refusal), nowMs),
    },
    body: {
      error: {
        message: renderMessage(refusal, locale),
        type: ERROR_SPECS[refusal.code].type,
        param: refusal.param ?? null,
        code: refusal.code,
        ...(refusal.windowResetsAt ? { window_resets_at: refusal.windowResetsAt.toISOString() } : {}),
      },
    },
  };
}
