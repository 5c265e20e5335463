/**
 * The closed set of error codes a caller can meet. The code is stable (money.md names the refusals); status, SDK type and
 * log level follow from it here, the message from platform/i18n/messages.ts. Expected refusals travel as values
 * (`Refusal`); only where a framework forces it (guards, control-plane services) are they wrapped in `RefusalError`.
 */
export interface ErrorSpec {
  readonly status: number;
  /** `error.type` as the OpenAI SDKs know it. */
  readonly type: string;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  /** Whether a client gains anything by sending the same request again (`x-should-retry`). */
  readonly retryable: boolean;
}

const spec = (status: number, type: string, logLevel: ErrorSpec['logLevel'], retryable = false): ErrorSpec => ({
  status,
  type,
  logLevel,
  retryable,
});

export const ERROR_SPECS = {
  INVALID_REQUEST: spec(400, 'invalid_request_error', 'debug'),
  MODEL_NOT_PRICED: spec(400, 'invalid_request_error', 'warn'),
  INVALID_API_KEY: spec(401, 'authentication_error', 'debug'),
  API_KEY_REVOKED: spec(401, 'authentication_error', 'debug'),
  API_KEY_EXPIRED: spec(401, 'authentication_error', 'debug'),
  ADMIN_TOKEN_INVALID: spec(401, 'authentication_error', 'info'),
  QUOTA_BALANCE_EXCEEDED: spec(402, 'insufficient_quota', 'info'),
  QUOTA_BUDGET_EXCEEDED: spec(402, 'insufficient_quota', 'info'),
  TENANT_NOT_ACTIVE: spec(403, 'permission_error', 'info'),
  USER_NOT_ACTIVE: spec(403, 'permission_error', 'info'),
  SUBSCRIPTION_INVALID: spec(403, 'permission_error', 'info'),
  MODEL_NOT_ALLOWED: spec(403, 'permission_error', 'debug'),
  NOT_FOUND: spec(404, 'not_found_error', 'debug'),
  MODEL_NOT_FOUND: spec(404, 'invalid_request_error', 'debug'),
  METHOD_NOT_ALLOWED: spec(405, 'invalid_request_error', 'debug'),
  CONFLICT: spec(409, 'invalid_request_error', 'info'),
  /** The first call with this Idempotency-Key has not ended. */
  IDEMPOTENCY_KEY_IN_USE: spec(409, 'invalid_request_error', 'debug', true),
  /** It was charged, and its answer is not kept: sending the call again would charge it again. */
  IDEMPOTENCY_ANSWER_NOT_KEPT: spec(409, 'invalid_request_error', 'info'),
  BODY_TOO_LARGE: spec(413, 'invalid_request_error', 'debug'),
  UNSUPPORTED_MEDIA_TYPE: spec(415, 'invalid_request_error', 'debug'),
  IDEMPOTENCY_KEY_REUSED: spec(422, 'invalid_request_error', 'debug'),
  QUOTA_DAILY_EXCEEDED: spec(429, 'rate_limit_exceeded', 'info'),
  QUOTA_MONTHLY_EXCEEDED: spec(429, 'rate_limit_exceeded', 'info'),
  TENANT_RPM_EXCEEDED: spec(429, 'rate_limit_exceeded', 'info', true),
  TENANT_TPM_EXCEEDED: spec(429, 'rate_limit_exceeded', 'info', true),
  CONCURRENCY_EXCEEDED: spec(429, 'rate_limit_exceeded', 'info', true),
  API_KEY_RATE_LIMIT_5H_EXCEEDED: spec(429, 'rate_limit_exceeded', 'info'),
  API_KEY_RATE_LIMIT_1D_EXCEEDED: spec(429, 'rate_limit_exceeded', 'info'),
  API_KEY_RATE_LIMIT_7D_EXCEEDED: spec(429, 'rate_limit_exceeded', 'info'),
  USER_PLATFORM_DAILY_QUOTA_EXHAUSTED: spec(429, 'rate_limit_exceeded', 'info'),
  USER_PLATFORM_WEEKLY_QUOTA_EXHAUSTED: spec(429, 'rate_limit_exceeded', 'info'),
  USER_PLATFORM_MONTHLY_QUOTA_EXHAUSTED: spec(429, 'rate_limit_exceeded', 'info'),
  DAILY_LIMIT_EXCEEDED: spec(429, 'rate_limit_exceeded', 'info'),
  WEEKLY_LIMIT_EXCEEDED: spec(429, 'rate_limit_exceeded', 'info'),
  MONTHLY_LIMIT_EXCEEDED: spec(429, 'rate_limit_exceeded', 'info'),
  GROUP_RPM_EXCEEDED: spec(429, 'rate_limit_exceeded', 'info', true),
  USER_RPM_EXCEEDED: spec(429, 'rate_limit_exceeded', 'info', true),
  /** The upstream refused the caller's request (4xx that is the caller's fault): its status and cleaned message pass. */
  UPSTREAM_REJECTED: spec(400, 'invalid_request_error', 'info'),
  UPSTREAM_RATE_LIMITED: spec(429, 'rate_limit_exceeded', 'warn', true),
  CLIENT_CLOSED_REQUEST: spec(499, 'invalid_request_error', 'debug'),
  INTERNAL_ERROR: spec(500, 'api_error', 'error', true),
  UPSTREAM_ERROR: spec(502, 'api_error', 'warn', true),
  BILLING_SERVICE_ERROR: spec(503, 'api_error', 'error', true),
  QUOTA_SERVICE_ERROR: spec(503, 'api_error', 'error', true),
  /** Postgres is away or busy where nothing is billed: reading, and the control plane. */
  SERVICE_UNAVAILABLE: spec(503, 'api_error', 'warn', true),
  NO_UPSTREAM_AVAILABLE: spec(503, 'api_error', 'warn', true),
  SHUTTING_DOWN: spec(503, 'api_error', 'info', true),
  UPSTREAM_TIMEOUT: spec(504, 'api_error', 'warn', true),
} as const satisfies Record<string, ErrorSpec>;

export type ErrorCode = keyof typeof ERROR_SPECS;

/** The limit that refused, by the name of its scope: requests and tokens are counts, money is nano-USD. */
export interface RefusedQuota {
  readonly scope: string;
  readonly measure: 'requests' | 'usd' | 'tokens';
  readonly limit: bigint;
  /** Without the refused call. */
  readonly used: bigint;
}

/** A refusal as a value: what the caller gets instead of an answer. */
export interface Refusal {
  readonly code: ErrorCode;
  /** Name of the offending request field, such as `messages[0].content`. */
  readonly param?: string;
  /** Fills the placeholders of the code's message template; never a secret. */
  readonly values?: Readonly<Record<string, string | number>>;
  /** Another status than the code's: the upstream's own 4xx (UPSTREAM_REJECTED), or the framework's. */
  readonly status?: number;
  readonly retryAfterMs?: number;
  /** When the refused window ends, for 429 of a calendar or rolling window. */
  readonly windowResetsAt?: Date;
  /** Of a refusal by a limit, for rate-limit headers and quotes. */
  readonly quota?: RefusedQuota;
}

export function refuse(code: ErrorCode, details: Omit<Refusal, 'code'> = {}): Refusal {
  return { code, ...details };
}

/** A refusal thrown where a framework knows only exceptions. */
export class RefusalError extends Error {
  override readonly name = 'RefusalError';

  constructor(
    readonly refusal: Refusal,
    options?: ErrorOptions,
  ) {
    super(refusal.code, options);
  }
}

export function refusalStatus(refusal: Refusal): number {
  return refusal.status ?? ERROR_SPECS[refusal.code].status;
}
