import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { ApiKeyAuthenticator } from '../../auth/api-key-authenticator';
import type { Principal } from '../../auth/principal';
import type { Refusal } from '../../kernel/errors';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who calls, on every route below /v1; null elsewhere. */
    principal: Principal | null;
  }
}

/**
 * Authenticates every request of the data plane before its body is read: who has no key cannot make the gateway hold
 * 32 MB. Judged by the matched route, not by the URL, which may be spelled with escapes.
 */
export function authenticateBeforeBody(
  fastify: FastifyInstance,
  authenticator: ApiKeyAuthenticator,
  refuse: (refusal: Refusal, request: FastifyRequest, reply: FastifyReply) => void,
): void {
  fastify.decorateRequest('principal', null);
  fastify.addHook('onRequest', (request, reply, done) => {
    const route = request.routeOptions.url;
    if (!route?.startsWith('/v1/')) {
      done();
      return;
    }
    const admit = (answer: Principal | Refusal): void => {
      if ('code' in answer) {
        refuse(answer, request, reply);
      } else {
        request.principal = answer;
        done();
      }
    };
    const answer = authenticator.authenticate(request.headers);
    if (answer instanceof Promise) answer.then(admit, done);
    else admit(answer);
  });
}

/** Parameter of a handler below /v1: the authenticated caller. */
export const Caller = createParamDecorator((_: unknown, context: ExecutionContext): Principal => {
  const { principal } = context.switchToHttp().getRequest<FastifyRequest>();
  if (!principal) throw new Error('a route outside /v1 asks for its caller');
  return principal;
});
