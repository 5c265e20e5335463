import Anthropic from '@anthropic-ai/sdk';
import { ERROR_SPECS, refuse, type ErrorCode, type Refusal } from '../../kernel/errors';
import { type AnthropicErrorBody, renderAnthropicError } from './anthropic-error';
import type { RenderedError } from './rendered-error';

const NOW_MS = Date.parse('2026-11-21T12:00:00Z');
const REQUEST_ID = '01938a00-0000-7000-8000-000000000000';

const rendered = (refusal: Refusal): RenderedError<AnthropicErrorBody> =>
  renderAnthropicError(refusal, { locale: 'en-US', nowMs: NOW_MS, requestId: REQUEST_ID });

/** As the official client throws it. */
function thrownFor({ status, headers, body }: RenderedError): InstanceType<typeof Anthropic.APIError> {
  return Anthropic.APIError.generate(status, body, undefined, new Headers({ ...headers, 'request-id': REQUEST_ID }));
}

const CLASSES: Readonly<Record<number, unknown>> = {
  400: Anthropic.BadRequestError,
  401: Anthropic.AuthenticationError,
  403: Anthropic.PermissionDeniedError,
  404: Anthropic.NotFoundError,
  409: Anthropic.ConflictError,
  422: Anthropic.UnprocessableEntityError,
  429: Anthropic.RateLimitError,
  500: Anthropic.InternalServerError,
};

describe('renderAnthropicError', () => {
  it.each(Object.keys(ERROR_SPECS) as ErrorCode[])('%s is read by the official client, with our code', (code) => {
    const answer = rendered(refuse(code));
    const error = thrownFor(answer);
    expect(error).toMatchObject({ status: ERROR_SPECS[code].status, errorCode: code, requestID: REQUEST_ID });
    expect(error.type).toBe(answer.body.error.type);
    expect(error.apiMessage).toBe(answer.body.error.message);
    const known = CLASSES[error.status ?? 0];
    if (known !== undefined) expect(error.constructor).toBe(known);
    expect(answer.body).toMatchObject({ type: 'error', error: { code }, request_id: REQUEST_ID });
  });

  it.each<[ErrorCode, string]>([
    ['INVALID_API_KEY', 'authentication_error'],
    ['QUOTA_BALANCE_EXCEEDED', 'billing_error'],
    ['MODEL_NOT_ALLOWED', 'permission_error'],
    ['MODEL_NOT_FOUND', 'not_found_error'],
    ['BODY_TOO_LARGE', 'request_too_large'],
    ['TENANT_RPM_EXCEEDED', 'rate_limit_error'],
    ['UPSTREAM_ERROR', 'api_error'],
    ['NO_UPSTREAM_AVAILABLE', 'overloaded_error'],
    ['UPSTREAM_TIMEOUT', 'timeout_error'],
  ])('calls %s %s', (code, type) => {
    expect(rendered(refuse(code)).body.error.type).toBe(type);
  });

  it('names the field, and the end of the window', () => {
    const refusal = refuse('QUOTA_DAILY_EXCEEDED', { param: 'model', windowResetsAt: new Date(NOW_MS + 90_000) });
    const { headers, body } = rendered(refusal);
    expect(body.error.details).toEqual({
      error_code: 'QUOTA_DAILY_EXCEEDED',
      param: 'model',
      window_resets_at: '2026-11-21T12:01:30.000Z',
    });
    expect(headers).toEqual({ 'x-should-retry': 'false', 'retry-after': '90' });
  });

  it('tells the limit that refused as Anthropic’s clients read it', () => {
    const quota = { scope: 'tenant_rpm', measure: 'requests', limit: 6n, used: 6n } as const;
    const refusal = refuse('TENANT_RPM_EXCEEDED', { quota, windowResetsAt: new Date(NOW_MS + 30_000) });
    expect(rendered(refusal).headers).toEqual({
      'x-should-retry': 'true',
      'retry-after': '30',
      'anthropic-ratelimit-requests-limit': '6',
      'anthropic-ratelimit-requests-remaining': '0',
      'anthropic-ratelimit-requests-reset': '2026-11-21T12:00:30Z',
    });
  });

  it.each([
    [400, 'invalid_request_error'],
    [403, 'permission_error'],
    [404, 'not_found_error'],
    [413, 'request_too_large'],
    [422, 'invalid_request_error'],
  ])('passes the provider’s own status %i on as %s', (status, type) => {
    const answer = rendered(refuse('UPSTREAM_REJECTED', { status, values: { message: 'too many tools' } }));
    expect(answer.status).toBe(status);
    expect(answer.body.error).toMatchObject({
      type,
      message: 'The model provider refused the request: too many tools.',
    });
  });
});
