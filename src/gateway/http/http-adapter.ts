import type { Socket } from 'node:net';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { refuse } from '../../kernel/errors';
import { newId } from '../../kernel/ids';
import { BODY_LIMIT_BYTES, parseBodies } from '../../platform/http/body-parser';
import type { RouteBook } from '../../platform/http/route-book';
import { errorDialectOf } from '../errors/error-dialect';
import { renderOpenAiError } from '../errors/openai-error';
import { sendRefusal } from '../errors/send-refusal';

export interface SocketLimits {
  /** For a request's headers to arrive, counted from the connection or the end of the previous request. */
  readonly headersMs: number;
  /** For the whole request, its body included, to arrive. */
  readonly requestMs: number;
  /** For which an idle connection is kept: longer than load balancers keep theirs, or they meet closed ones. */
  readonly keepAliveMs: number;
  /** Longest silence of a socket while an answer is under way. */
  readonly silenceMs: number;
  /** How often the first two are looked at. */
  readonly checkMs: number;
}

/** Fastify as the edge of the gateway: bounded in size and time, every request with an id of our own making. */
export function createHttpAdapter(limits: SocketLimits, routes: RouteBook): FastifyAdapter {
  const adapter = new FastifyAdapter({
    bodyLimit: BODY_LIMIT_BYTES,
    // Never a client's: whoever repeats an id must neither fail nor ride free.
    requestIdHeader: false,
    genReqId: newId,
    requestTimeout: limits.requestMs,
    connectionTimeout: limits.silenceMs,
    keepAliveTimeout: limits.keepAliveMs,
    http: {
      headersTimeout: limits.headersMs,
      connectionsCheckingInterval: limits.checkMs,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 30_000,
    },
    // Fastify's own 503 has another shape; countInFlight has refused before it closes.
    return503OnClosing: false,
    clientErrorHandler: answerBrokenHttp,
    frameworkErrors: (_error: Error, request: FastifyRequest, reply: FastifyReply) => {
      nameRequest(request, reply);
      sendRefusal(refuse('INVALID_REQUEST', { values: { reason: 'the URL cannot be read' } }), request, reply);
    },
  });
  const fastify = adapter.getInstance();
  routes.follow(fastify);
  parseBodies(fastify);
  fastify.addHook('onRequest', (request, reply, done) => {
    nameRequest(request, reply);
    // Before a body is read: what no route takes is not kept either.
    if (request.is404) sendRefusal(routes.refusalOf(request.method, request.url), request, reply);
    else done();
  });
  return adapter;
}

/** Under the name that each client looks for; ours is on every answer. */
function nameRequest(request: FastifyRequest, reply: FastifyReply): void {
  reply.header('x-request-id', request.id);
  if (errorDialectOf(request) === 'anthropic') reply.header('request-id', request.id);
}

const BROKEN_HTTP: Readonly<Record<string, readonly [status: number, phrase: string, reason: string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'Request Header Fields Too Large', 'the headers are too large'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'Request Timeout', 'the request did not arrive in time'],
};

/** What is not HTTP, or comes too slowly, has no request yet: the answer is written by hand and the socket closed. */
function answerBrokenHttp(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed || !socket.writable) {
    socket.destroy();
    return;
  }
  const [status, phrase, reason] = BROKEN_HTTP[error.code ?? ''] ?? [400, 'Bad Request', 'this is not HTTP'];
  const rendered = renderOpenAiError(refuse('INVALID_REQUEST', { values: { reason } }), { locale: 'en-US', nowMs: 0 });
  const body = JSON.stringify(rendered.body);
  socket.end(
    `HTTP/1.1 ${status} ${phrase}\r\ncontent-type: application/json; charset=utf-8\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nx-should-retry: false\r\nconnection: close\r\n\r\n${body}`,
  );
}
