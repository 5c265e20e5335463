import type { FastifyRequest } from 'fastify';
import type { ApiDialect } from '../../upstreams/upstream.port';
import { forwardedOf } from './forwarded';

function forwarded(dialect: ApiDialect, headers: object, query: object = {}): unknown {
  return forwardedOf({ headers, query } as unknown as FastifyRequest, dialect);
}

const ALL = {
  'anthropic-version': '2023-06-01',
  'anthropic-beta': 'context-1m-2025-08-07, files-api-2025-04-14',
  'openai-beta': 'responses=v1',
  authorization: 'Bearer sk-tg-x',
  'x-api-key': 'sk-tg-x',
  cookie: 'a=b',
  'x-forwarded-for': '10.0.0.1',
};

describe('what is forwarded beside a body', () => {
  it('is what a client of Anthropic’s API says to Anthropic', () => {
    expect(forwarded('anthropic-messages', ALL, { beta: 'true', key: 'secret' })).toEqual({
      headers: { 'anthropic-version': '2023-06-01', 'anthropic-beta': 'context-1m-2025-08-07, files-api-2025-04-14' },
      query: '?beta=true',
    });
  });

  it.each(['openai-chat', 'openai-responses', 'openai-embeddings'] as const)(
    'is the beta of OpenAI’s in %s',
    (dialect) => {
      expect(forwarded(dialect, ALL, { beta: 'true' })).toEqual({
        headers: { 'openai-beta': 'responses=v1' },
        query: '',
      });
    },
  );

  it.each([
    [{}, {}],
    [{ 'anthropic-beta': '' }, { beta: 'false' }],
    [{}, { beta: ['true', 'true'] }],
    [{}, { beta: 'true&key=secret' }],
  ])('is nothing of %j and %j', (headers, query) => {
    expect(forwarded('anthropic-messages', headers, query)).toEqual({ headers: {}, query: '' });
  });

  it.each([['ü'], ['a\tb'], ['x'.repeat(2001)]])('names the header where it is %j', (value) => {
    expect(forwarded('anthropic-messages', { 'anthropic-beta': value })).toMatchObject({
      code: 'INVALID_REQUEST',
      param: 'anthropic-beta',
    });
  });
});
