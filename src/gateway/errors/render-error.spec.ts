import { refuse } from '../../kernel/errors';
import type { ApiDialect } from '../../upstreams/upstream.port';
import { renderErrorEvent } from './render-error';

const REQUEST = { locale: 'en-US', nowMs: 0, requestId: 'trace' } as const;
const BROKEN = refuse('UPSTREAM_ERROR');

const eventOf = (dialect: ApiDialect): unknown => JSON.parse(renderErrorEvent(dialect, BROKEN, REQUEST));

describe('the event that ends a stream badly', () => {
  const message = 'The model provider failed to answer. Try again.';

  it('is the body of an error in a chat', () => {
    expect(eventOf('openai-chat')).toEqual({
      error: { message, type: 'api_error', param: null, code: 'UPSTREAM_ERROR' },
    });
  });

  it('is the body of an error in a message', () => {
    expect(eventOf('anthropic-messages')).toEqual({
      type: 'error',
      error: { type: 'api_error', message, code: 'UPSTREAM_ERROR', details: { error_code: 'UPSTREAM_ERROR' } },
      request_id: 'trace',
    });
  });

  it('has an own shape in a response', () => {
    expect(eventOf('openai-responses')).toEqual({
      type: 'error',
      code: 'UPSTREAM_ERROR',
      message,
      param: null,
      sequence_number: 0,
    });
  });
});
