import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { refuse, RefusalError } from '../../kernel/errors';
import { Settings } from '../../platform/config/settings';
import { bearsAdminToken } from './admin-token';

/** Who did it, as the audit log names the holder of ADMIN_TOKEN. */
export const ADMIN_TOKEN_ACTOR = 'admin-token';

/** Lets in the bearer of ADMIN_TOKEN and nobody else. */
@Injectable()
export class AdminGuard implements CanActivate {
  constructor(private readonly settings: Settings) {}

  canActivate(context: ExecutionContext): boolean {
    if (bearsAdminToken(context.switchToHttp().getRequest<FastifyRequest>(), this.settings.adminToken)) return true;
    throw new RefusalError(refuse('ADMIN_TOKEN_INVALID'));
  }
}
