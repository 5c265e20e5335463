import { createHash, timingSafeEqual } from 'node:crypto';
import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { refuse, RefusalError } from '../../kernel/errors';
import { Settings } from '../../platform/config/settings';

/** Who did it, as the audit log names the holder of ADMIN_TOKEN. */
export const ADMIN_TOKEN_ACTOR = 'admin-token';

const BEARER = /^bearer +(\S+) *$/i;

/** Lets in the bearer of ADMIN_TOKEN and nobody else. Both sides are hashed, so that the comparison has one length. */
@Injectable()
export class AdminGuard implements CanActivate {
  private readonly expected: Buffer;

  constructor(settings: Settings) {
    this.expected = sha256(settings.adminToken);
  }

  canActivate(context: ExecutionContext): boolean {
    const { headers } = context.switchToHttp().getRequest<FastifyRequest>();
    const token = BEARER.exec(headers.authorization ?? '')?.[1];
    if (token === undefined || !timingSafeEqual(sha256(token), this.expected)) {
      throw new RefusalError(refuse('ADMIN_TOKEN_INVALID'));
    }
    return true;
  }
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
