import { ERROR_SPECS, refuse, type ErrorCode } from '../kernel/errors';
import { renderOpenAiError } from './openai-error';

const NOW_MS = Date.parse('2026-11-21T12:00:00Z');

describe('renderOpenAiError', () => {
  it.each(Object.keys(ERROR_SPECS) as ErrorCode[])('%s has the four fields OpenAI clients read', (code) => {
    const { status, body } = renderOpenAiError(refuse(code), 'en-US', NOW_MS);
    expect(status).toBe(ERROR_SPECS[code].status);
    expect(body.error).toEqual({
      message: expect.any(String) as string,
      type: ERROR_SPECS[code].type,
      param: null,
      code,
    });
  });

  it('tells clients to send the same again only where it may help within a minute', () => {
    const shouldRetry = (...args: Parameters<typeof refuse>): string | undefined =>
      renderOpenAiError(refuse(...args), 'en-US', NOW_MS).headers['x-should-retry'];
    expect(shouldRetry('QUOTA_BALANCE_EXCEEDED')).toBe('false');
    expect(shouldRetry('INVALID_REQUEST')).toBe('false');
    expect(shouldRetry('BILLING_SERVICE_ERROR')).toBe('true');
    expect(shouldRetry('UPSTREAM_RATE_LIMITED', { retryAfterMs: 60_000 })).toBe('true');
    expect(shouldRetry('UPSTREAM_RATE_LIMITED', { retryAfterMs: 60_001 })).toBe('false');
    expect(shouldRetry('QUOTA_DAILY_EXCEEDED', { windowResetsAt: new Date(NOW_MS + 59_000) })).toBe('true');
    expect(shouldRetry('QUOTA_DAILY_EXCEEDED', { windowResetsAt: new Date(NOW_MS + 61_000) })).toBe('false');
  });

  it('rounds the wait up to whole seconds and names the end of the window', () => {
    const resetsAt = new Date(NOW_MS + 3_600_001);
    const { headers, body } = renderOpenAiError(
      refuse('QUOTA_MONTHLY_EXCEEDED', { windowResetsAt: resetsAt }),
      'en-US',
      NOW_MS,
    );
    expect(headers['retry-after']).toBe('3601');
    expect(body.error.window_resets_at).toBe('2026-11-21T13:00:00.001Z');
  });

  it('asks to wait the second that OpenAI’s description has as the least, where a window has ended', () => {
    const refusal = refuse('QUOTA_DAILY_EXCEEDED', { windowResetsAt: new Date(NOW_MS - 5_000) });
    expect(renderOpenAiError(refusal, 'en-US', NOW_MS).headers['retry-after']).toBe('1');
  });

  it('passes the upstream’s own status on', () => {
    const refusal = refuse('UPSTREAM_REJECTED', { status: 422, values: { message: 'too many tools' } });
    const { status, body } = renderOpenAiError(refusal, 'en-US', NOW_MS);
    expect([status, body.error.message]).toEqual([422, 'The model provider refused the request: too many tools.']);
  });
});
