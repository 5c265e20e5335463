import { Controller, Get, Headers, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { refuse, RefusalError } from '../../kernel/errors';
import { Settings } from '../config/settings';
import { bearerToken, isSameSecret } from '../http/bearer';
import { Metrics } from './metrics';

/** `/metrics` on the main port, for the holder of the admin token; not there when METRICS_PORT serves it. */
@ApiExcludeController()
@Controller('metrics')
export class MetricsController {
  constructor(
    private readonly metrics: Metrics,
    private readonly settings: Settings,
  ) {}

  @Get()
  async scrape(
    @Headers('authorization') authorization: string | undefined,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<string> {
    if (this.settings.metricsPort !== undefined) throw new RefusalError(refuse('NOT_FOUND'));
    const token = bearerToken(authorization);
    if (token === undefined || !isSameSecret(token, this.settings.adminToken)) {
      throw new RefusalError(refuse('ADMIN_TOKEN_INVALID'));
    }
    const { contentType, text } = await this.metrics.scrape();
    reply.type(contentType);
    return text;
  }
}
