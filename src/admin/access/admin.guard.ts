import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { refuse, RefusalError } from '../../kernel/errors';
import { Settings } from '../../platform/config/settings';
import { bearerToken, isSameSecret } from '../../platform/http/bearer';

/** Who did it, as the audit log names the holder of ADMIN_TOKEN. */
export const ADMIN_TOKEN_ACTOR = 'admin-token';

/** Lets in the bearer of ADMIN_TOKEN and nobody else. */
@Injectable()
export class AdminGuard implements CanActivate {
  constructor(private readonly settings: Settings) {}

  canActivate(context: ExecutionContext): boolean {
    const { headers } = context.switchToHttp().getRequest<FastifyRequest>();
    const token = bearerToken(headers.authorization);
    if (token === undefined || !isSameSecret(token, this.settings.adminToken)) {
      throw new RefusalError(refuse('ADMIN_TOKEN_INVALID'));
    }
    return true;
  }
}
