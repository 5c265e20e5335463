import type { FastifyRequest } from 'fastify';
import type { ErrorDialect } from './render-error';

export const ANTHROPIC_VERSION = 'anthropic-version';
const MESSAGES = /^\/v1\/messages(?:[/?]|$)/;
const MODELS = /^\/v1\/models(?:[/?]|$)/;

/**
 * Which client waits for the answer, by the route; where several kinds of clients take one (models), or none does, by the
 * header that only Anthropic's send.
 */
export function errorDialectOf({ routeOptions, url, headers }: FastifyRequest): ErrorDialect {
  // The matched route knows a URL that is spelled with escapes; of one that no route takes there are only its bytes.
  const route = routeOptions.url;
  const path = route ?? url;
  if (MESSAGES.test(path)) return 'anthropic';
  const isShared = route === undefined || MODELS.test(path);
  return isShared && path.startsWith('/v1/') && headers[ANTHROPIC_VERSION] !== undefined ? 'anthropic' : 'openai';
}
