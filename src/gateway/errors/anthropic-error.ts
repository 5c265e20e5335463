import { refusalStatus, type ErrorCode, type Refusal } from '../../kernel/errors';
import { renderMessage } from '../../platform/i18n/render-message';
import { anthropicRateLimitHeaders, rateLimitsOfRefusal } from '../rate-limit-headers';
import { type RefusedRequest, type RenderedError, retryHeadersOf } from './rendered-error';

/** The types that Anthropic's API documents, and so its clients know. */
export type AnthropicErrorType =
  | 'invalid_request_error'
  | 'authentication_error'
  | 'billing_error'
  | 'permission_error'
  | 'not_found_error'
  | 'conflict_error'
  | 'request_too_large'
  | 'rate_limit_error'
  | 'timeout_error'
  | 'api_error'
  | 'overloaded_error';

/** The error body of the Anthropic API. */
export interface AnthropicErrorBody {
  readonly type: 'error';
  readonly error: {
    readonly type: AnthropicErrorType;
    readonly message: string;
    /** Our stable code, as on every other route. */
    readonly code: ErrorCode;
    /** Where Anthropic's clients look for a code (`APIError.errorCode`). */
    readonly details: {
      readonly error_code: ErrorCode;
      readonly param?: string;
      /** RFC 3339: when the refused window ends. */
      readonly window_resets_at?: string;
    };
  };
  readonly request_id: string | null;
}

const TYPES: Readonly<Record<ErrorCode, AnthropicErrorType>> = {
  INVALID_REQUEST: 'invalid_request_error',
  MODEL_NOT_PRICED: 'invalid_request_error',
  INVALID_API_KEY: 'authentication_error',
  API_KEY_REVOKED: 'authentication_error',
  API_KEY_EXPIRED: 'authentication_error',
  ADMIN_TOKEN_INVALID: 'authentication_error',
  QUOTA_BALANCE_EXCEEDED: 'billing_error',
  QUOTA_BUDGET_EXCEEDED: 'billing_error',
  TENANT_NOT_ACTIVE: 'permission_error',
  USER_NOT_ACTIVE: 'permission_error',
  SUBSCRIPTION_INVALID: 'permission_error',
  MODEL_NOT_ALLOWED: 'permission_error',
  NOT_FOUND: 'not_found_error',
  MODEL_NOT_FOUND: 'not_found_error',
  METHOD_NOT_ALLOWED: 'invalid_request_error',
  CONFLICT: 'conflict_error',
  IDEMPOTENCY_KEY_IN_USE: 'conflict_error',
  IDEMPOTENCY_ANSWER_NOT_KEPT: 'conflict_error',
  BODY_TOO_LARGE: 'request_too_large',
  UNSUPPORTED_MEDIA_TYPE: 'invalid_request_error',
  IDEMPOTENCY_KEY_REUSED: 'invalid_request_error',
  QUOTA_DAILY_EXCEEDED: 'rate_limit_error',
  QUOTA_MONTHLY_EXCEEDED: 'rate_limit_error',
  TENANT_RPM_EXCEEDED: 'rate_limit_error',
  TENANT_TPM_EXCEEDED: 'rate_limit_error',
  CONCURRENCY_EXCEEDED: 'rate_limit_error',
  API_KEY_RATE_LIMIT_5H_EXCEEDED: 'rate_limit_error',
  API_KEY_RATE_LIMIT_1D_EXCEEDED: 'rate_limit_error',
  API_KEY_RATE_LIMIT_7D_EXCEEDED: 'rate_limit_error',
  USER_PLATFORM_DAILY_QUOTA_EXHAUSTED: 'rate_limit_error',
  USER_PLATFORM_WEEKLY_QUOTA_EXHAUSTED: 'rate_limit_error',
  USER_PLATFORM_MONTHLY_QUOTA_EXHAUSTED: 'rate_limit_error',
  DAILY_LIMIT_EXCEEDED: 'rate_limit_error',
  WEEKLY_LIMIT_EXCEEDED: 'rate_limit_error',
  MONTHLY_LIMIT_EXCEEDED: 'rate_limit_error',
  GROUP_RPM_EXCEEDED: 'rate_limit_error',
  USER_RPM_EXCEEDED: 'rate_limit_error',
  UPSTREAM_REJECTED: 'invalid_request_error',
  UPSTREAM_RATE_LIMITED: 'rate_limit_error',
  CLIENT_CLOSED_REQUEST: 'invalid_request_error',
  INTERNAL_ERROR: 'api_error',
  UPSTREAM_ERROR: 'api_error',
  BILLING_SERVICE_ERROR: 'api_error',
  QUOTA_SERVICE_ERROR: 'api_error',
  SERVICE_UNAVAILABLE: 'api_error',
  NO_UPSTREAM_AVAILABLE: 'overloaded_error',
  SHUTTING_DOWN: 'overloaded_error',
  UPSTREAM_TIMEOUT: 'timeout_error',
};

/** What a status of another's choosing means: the provider's own 4xx, or the framework's. */
const TYPES_BY_STATUS: ReadonlyMap<number, AnthropicErrorType> = new Map([
  [403, 'permission_error'],
  [404, 'not_found_error'],
  [413, 'request_too_large'],
]);

export function renderAnthropicError(
  refusal: Refusal,
  { locale, nowMs, requestId }: RefusedRequest,
): RenderedError<AnthropicErrorBody> {
  const { code, param, windowResetsAt } = refusal;
  const foreign = refusal.status === undefined ? undefined : TYPES_BY_STATUS.get(refusal.status);
  return {
    status: refusalStatus(refusal),
    headers: {
      ...retryHeadersOf(refusal, nowMs),
      ...anthropicRateLimitHeaders(rateLimitsOfRefusal(refusal)),
    },
    body: {
      type: 'error',
      error: {
        type: foreign ?? TYPES[code],
        message: renderMessage(refusal, locale),
        code,
        details: {
          error_code: code,
          ...(param === undefined ? {} : { param }),
          ...(windowResetsAt ? { window_resets_at: windowResetsAt.toISOString() } : {}),
        },
      },
      request_id: requestId ?? null,
    },
  };
}
