import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Refusal } from '../../kernel/errors';
import { localeOf } from '../../platform/i18n/render-message';
import { errorDialectOf } from './error-dialect';
import { renderError } from './render-error';

/**
 * Answers a request with a refusal, as its client knows errors.
 * @param nowMs for what names the end of a window; hooks refuse for other reasons
 */
export function sendRefusal(refusal: Refusal, request: FastifyRequest, reply: FastifyReply, nowMs = 0): void {
  const { status, headers, body } = renderError(errorDialectOf(request), refusal, {
    locale: localeOf(request.headers['accept-language']),
    nowMs,
    requestId: request.id,
  });
  void reply.status(status).headers(headers).send(body);
}
