import { ERROR_SPECS, refuse, type ErrorCode } from '../../kernel/errors';
import { renderOpenAiError } from './openai-error';

const NOW_MS = Date.parse('2026-11-21T12:00:00Z');
const IN_ENGLISH = { locale: 'en-US', nowMs: NOW_MS } as const;

describe('renderOpenAiError', () => {
  it.each(Object.keys(ERROR_SPECS) as ErrorCode[])('%s has the four fields OpenAI clients read', (code) => {
    const { status, body } = renderOpenAiError(refuse(code), IN_ENGLISH);
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
      renderOpenAiError(refuse(...args), IN_ENGLISH).headers['x-should-retry'];
    expect(shouldRetry('QUOTA_BALANCE_EXCEEDED')).toBe('false');
    expect(shouldRetry('INVALID_REQUEST')).toBe('false');
    expect(shouldRetry('BILLING_SERVICE_ERROR')).toBe('true');
    expect(shouldRetry('UPSTREAM_RATE_LIMITED', { retryAfterMs: 60_000 })).toBe('true');
    expect(shouldRetry('UPSTREAM_RATE_LIMITED', { retryAfterMs: 60_001 })).toBe('false');
    expect(shouldRetry('QUOTA_DAILY_EXCEEDED', { windowResetsAt: new Date(NOW_MS + 59_000) })).toBe('true');
    expect(shouldRetry('QUOTA_DAILY_EXCEEDED', { windowResetsAt: new Date(NOW_MS + 61_000) })).toBe('false');
  });

  it('does not have a call sent again that no wait lets pass', () => {
    const rendered = (...args: Parameters<typeof refuse>): Readonly<Record<string, string>> =>
      renderOpenAiError(refuse(...args), IN_ENGLISH).headers;
    const tpm = { scope: 'tenant_tpm', measure: 'tokens', limit: 1_000n, used: 0n } as const;
    expect(rendered('TENANT_TPM_EXCEEDED', { quota: tpm })).toMatchObject({ 'x-should-retry': 'false' });
    expect(rendered('TENANT_TPM_EXCEEDED', { quota: tpm })).not.toHaveProperty('retry-after');
    const soon = { quota: tpm, windowResetsAt: new Date(NOW_MS + 12_000) };
    expect(rendered('TENANT_TPM_EXCEEDED', soon)).toMatchObject({ 'x-should-retry': 'true', 'retry-after': '12' });
    const open = { scope: 'tenant_concurrency', measure: 'requests', limit: 2n, used: 2n } as const;
    expect(rendered('CONCURRENCY_EXCEEDED', { quota: open, retryAfterMs: 1_000 })).toMatchObject({
      'x-should-retry': 'true',
      'retry-after': '1',
    });
    const budget = { scope: 'key_budget', measure: 'usd', limit: 5n, used: 5n } as const;
    expect(rendered('QUOTA_BUDGET_EXCEEDED', { quota: budget })).toEqual({ 'x-should-retry': 'false' });
  });

  it('tells the limit that refused as OpenAI’s clients read it', () => {
    const quota = { scope: 'tenant_rpm', measure: 'requests', limit: 6n, used: 6n } as const;
    const refusal = refuse('TENANT_RPM_EXCEEDED', { quota, windowResetsAt: new Date(NOW_MS + 30_000) });
    expect(renderOpenAiError(refusal, IN_ENGLISH).headers).toEqual({
      'x-should-retry': 'true',
      'retry-after': '30',
      'x-ratelimit-limit-requests': '6',
      'x-ratelimit-remaining-requests': '0',
      'x-ratelimit-reset-requests': '30s',
    });
  });

  it('rounds the wait up to whole seconds and names the end of the window', () => {
    const resetsAt = new Date(NOW_MS + 3_600_001);
    const { headers, body } = renderOpenAiError(
      refuse('QUOTA_MONTHLY_EXCEEDED', { windowResetsAt: resetsAt }),
      IN_ENGLISH,
    );
    expect(headers['retry-after']).toBe('3601');
    expect(body.error.window_resets_at).toBe('2026-11-21T13:00:00.001Z');
  });

  it('asks to wait the second that OpenAI’s description has as the least, where a window has ended', () => {
    const refusal = refuse('QUOTA_DAILY_EXCEEDED', { windowResetsAt: new Date(NOW_MS - 5_000) });
    expect(renderOpenAiError(refusal, IN_ENGLISH).headers['retry-after']).toBe('1');
  });

  it('passes the upstream’s own status on', () => {
    const refusal = refuse('UPSTREAM_REJECTED', { status: 422, values: { message: 'too many tools' } });
    const { status, body } = renderOpenAiError(refusal, IN_ENGLISH);
    expect([status, body.error.message]).toEqual([422, 'The model provider refused the request: too many tools.']);
  });
});
