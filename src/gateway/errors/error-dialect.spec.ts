import type { FastifyRequest } from 'fastify';
import { errorDialectOf } from './error-dialect';

const VERSION = { 'anthropic-version': '2023-06-01' };

/** @param route the one that takes the URL, where there is one */
function dialectOf(url: string, route: string | undefined, headers: object): string {
  return errorDialectOf({ url, routeOptions: { url: route }, headers } as unknown as FastifyRequest);
}

describe('the dialect of an error', () => {
  it.each([
    ['/v1/messages', '/v1/messages', {}, 'anthropic'],
    ['/v1/messages?beta=true', '/v1/messages', {}, 'anthropic'],
    ['/v1/mess%61ges', '/v1/messages', {}, 'anthropic'],
    ['/v1/messages/count_tokens', '/v1/messages/count_tokens', {}, 'anthropic'],
    ['/v1/messages/batches', undefined, {}, 'anthropic'],
    ['/v1/messages?x', undefined, {}, 'anthropic'],
    ['/v1/messagesque', undefined, {}, 'openai'],
    ['/v1/models', '/v1/models', {}, 'openai'],
    ['/v1/models', '/v1/models', VERSION, 'anthropic'],
    ['/v1/models/a%2Fb', '/v1/models/*', VERSION, 'anthropic'],
    ['/v1/files', undefined, VERSION, 'anthropic'],
    ['/v1/files', undefined, {}, 'openai'],
    ['/v1/chat/completions', '/v1/chat/completions', VERSION, 'openai'],
    ['/v1/responses', '/v1/responses', VERSION, 'openai'],
    ['/admin/v1/tenants', '/admin/v1/tenants', VERSION, 'openai'],
    ['/admin/v1/nothing', undefined, VERSION, 'openai'],
  ])('of %s, taken by %s, with %j is %s', (url, route, headers, dialect) => {
    expect(dialectOf(url, route, headers)).toBe(dialect);
  });
});
