import { Catch, HttpException, Logger, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '../../kernel/clock';
import { refuse, RefusalError, type Refusal } from '../../kernel/errors';
import { discardBody } from '../../platform/http/discard-body';
import type { RouteBook } from '../../platform/http/route-book';
import { DatabaseOutage, meetsNoDatabase } from '../database-outage';
import { sendRefusal } from './send-refusal';

/** Turns whatever was thrown into an error a caller can act upon. What nobody expected is logged here, once. */
@Catch()
export class ErrorFilter implements ExceptionFilter {
  private readonly logger = new Logger(ErrorFilter.name);

  private readonly outage: DatabaseOutage;

  constructor(
    private readonly clock: Clock,
    private readonly routes: RouteBook,
  ) {
    this.outage = new DatabaseOutage(clock, this.logger);
  }

  catch(exception: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const request = http.getRequest<FastifyRequest>();
    const reply = http.getResponse<FastifyReply>();
    const refusal = this.refusalOf(exception, request);
    if (refusal.code === 'INTERNAL_ERROR') this.log(exception, request);
    if (reply.sent) return;
    if (refusal.code === 'BODY_TOO_LARGE') {
      void discardBody(request.raw).then(() => {
        this.answer(request, reply, refusal);
      });
    } else this.answer(request, reply, refusal);
  }

  private answer(request: FastifyRequest, reply: FastifyReply, refusal: Refusal): void {
    sendRefusal(refusal, request, reply, this.clock.nowMs());
  }

  private refusalOf(exception: unknown, request: FastifyRequest): Refusal {
    if (exception instanceof RefusalError) return exception.refusal;
    // Hung up in the middle of its body: nobody reads the answer, and the connection that was lost is the client's.
    if (request.raw.destroyed && !request.raw.complete) return refuse('CLIENT_CLOSED_REQUEST');
    if (meetsNoDatabase(exception)) {
      this.outage.met(exception, request.id);
      return refuse('SERVICE_UNAVAILABLE', { retryAfterMs: 1_000 });
    }
    const status = statusOf(exception);
    if (status === undefined || status < 400 || status >= 500) return refuse('INTERNAL_ERROR');
    const byStatus = new Map<number, () => Refusal>([
      [404, () => this.routes.refusalOf(request.method, request.url)],
      [413, () => refuse('BODY_TOO_LARGE', { values: { limit: request.routeOptions.bodyLimit } })],
      [415, () => refuse('UNSUPPORTED_MEDIA_TYPE', { param: 'content-type' })],
    ]);
    return byStatus.get(status)?.() ?? refuse('INVALID_REQUEST', { status, values: { reason: reasonOf(exception) } });
  }

  private log(exception: unknown, request: FastifyRequest): void {
    const err = exception instanceof Error ? exception : new Error('something that is no Error was thrown');
    this.logger.error(
      { err, traceId: request.id, method: request.method, route: request.routeOptions.url },
      'a request failed inside the gateway',
    );
  }
}

/** Of Nest's exceptions and of Fastify's own errors, which are 4xx about the request. */
function statusOf(exception: unknown): number | undefined {
  if (exception instanceof HttpException) return exception.getStatus();
  if (!(exception instanceof Error) || !('code' in exception) || !('statusCode' in exception)) return undefined;
  const isFastifys = typeof exception.code === 'string' && exception.code.startsWith('FST_');
  return isFastifys && typeof exception.statusCode === 'number' ? exception.statusCode : undefined;
}

function reasonOf(exception: unknown): string {
  const answer: unknown = exception instanceof HttpException ? exception.getResponse() : undefined;
  const message: unknown =
    typeof answer === 'object' && answer !== null && 'message' in answer ? answer.message : answer;
  if (Array.isArray(message)) return message.map(String).join('; ');
  if (typeof message === 'string') return message;
  return exception instanceof Error ? exception.message : 'the request was refused';
}
