import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { refuse, type Refusal } from '../../kernel/errors';
import { bearerToken, isSameSecret } from '../../platform/http/bearer';

/** Whether these are the headers of who holds ADMIN_TOKEN. */
export function bearsAdminToken({ headers }: FastifyRequest, adminToken: string): boolean {
  const token = bearerToken(headers.authorization);
  return token !== undefined && isSameSecret(token, adminToken);
}

/**
 * Refuses everybody but administrators on the control plane before a body is read. AdminGuard asks again: it stands at
 * every controller, wherever its route lies. Judged by the matched route, not by the URL, which may be spelled with escapes.
 */
export function requireAdminTokenBeforeBody(
  fastify: FastifyInstance,
  adminToken: string,
  answer: (refusal: Refusal, request: FastifyRequest, reply: FastifyReply) => void,
): void {
  fastify.addHook('onRequest', (request, reply, done) => {
    const isControlPlane = request.routeOptions.url?.startsWith('/admin/') === true;
    if (isControlPlane && !bearsAdminToken(request, adminToken)) answer(refuse('ADMIN_TOKEN_INVALID'), request, reply);
    else done();
  });
}
