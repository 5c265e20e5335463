import type { FastifyInstance, FastifyRequest } from 'fastify';
import { refuse, RefusalError } from '../../kernel/errors';
import { jsonDepthExceeds } from './json-depth';

/** Of a request body on the data plane. */
export const BODY_LIMIT_BYTES = 32 * 1024 * 1024;
/** Of a request body anywhere else: nothing there is large, except for a list of every model's price. */
const CONTROL_PLANE_BODY_LIMIT_BYTES = 1024 * 1024;
const PRICE_LIST_BODY_LIMIT_BYTES = 8 * 1024 * 1024;
const CONTROL_PLANE_JSON_DEPTH = 32;

type Parse = (request: FastifyRequest, body: Buffer, done: (error: Error | null, body?: unknown) => void) => void;

/**
 * One parser for every content type, one limit for each plane: it counts while the body comes. Must be called before
 * routes are added. Under /v1 the body is left as the Buffer that arrived: what is priced there is what
 * is sent on, and the handler parses once. Elsewhere it becomes a JSON value, with every number as its text where the
 * route asks for that (NUMBERS_AS_TEXT). Judged by the matched route, not by the URL, which may be spelled with escapes.
 */
export function parseBodies(fastify: FastifyInstance): void {
  const controlPlaneJson = controlPlaneParser(fastify);
  fastify.addHook('onRoute', (route) => {
    if (isDataPlane(route.url)) return;
    route.bodyLimit = hasNumbersAsText(route.config) ? PRICE_LIST_BODY_LIMIT_BYTES : CONTROL_PLANE_BODY_LIMIT_BYTES;
  });
  fastify.removeAllContentTypeParsers();
  fastify.addContentTypeParser<Buffer>('*', { parseAs: 'buffer' }, (request, body, done) => {
    const refusal = refusesEncoding(request);
    if (refusal) done(new RefusalError(refusal));
    else if (isDataPlane(request.routeOptions.url)) done(null, body);
    else controlPlaneJson(request, body, done);
  });
}

/** For `@RouteConfig` of a handler that takes lists of prices: no number in its body may ever be a float. */
export const NUMBERS_AS_TEXT = { areNumbersText: true } as const;

function hasNumbersAsText(config: unknown): boolean {
  return typeof config === 'object' && config !== null && 'areNumbersText' in config && config.areNumbersText === true;
}

function isDataPlane(route: string | undefined): boolean {
  return route === '/v1' || route?.startsWith('/v1/') === true;
}

function refusesEncoding(request: FastifyRequest): ReturnType<typeof refuse> | undefined {
  const type = request.headers['content-type'];
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') {
    return refuse('UNSUPPORTED_MEDIA_TYPE', { param: 'content-encoding', values: { received: encoding } });
  }
  if (type === undefined || type.toLowerCase().includes('json')) return undefined;
  return refuse('UNSUPPORTED_MEDIA_TYPE', { param: 'content-type', values: { received: type } });
}

function controlPlaneParser(fastify: FastifyInstance): Parse {
  // Fastify's own parser refuses __proto__ and constructor.prototype, which plain JSON.parse would let through.
  const parse = fastify.getDefaultJsonParser('error', 'error');
  const invalid = (reason: string): RefusalError => new RefusalError(refuse('INVALID_REQUEST', { values: { reason } }));
  return (request, body, done) => {
    // A POST that needs no body often comes with a content type all the same.
    if (body.length === 0) {
      done(null);
      return;
    }
    if (jsonDepthExceeds(body, CONTROL_PLANE_JSON_DEPTH)) {
      done(invalid(`the body nests deeper than ${CONTROL_PLANE_JSON_DEPTH} levels`));
      return;
    }
    const text = body.toString('utf8');
    void parse(request, text, (error, value) => {
      if (error) done(invalid('the body is not valid JSON, or names __proto__ or constructor'));
      else done(null, hasNumbersAsText(request.routeOptions.config) ? withNumbersAsText(text) : value);
    });
  };
}

/** Of a text that has been parsed before. */
function withNumbersAsText(text: string): unknown {
  const asText = (_key: string, value: unknown, context?: { readonly source?: string }): unknown =>
    typeof value === 'number' ? context?.source : value;
  return JSON.parse(text, asText) as unknown;
}
