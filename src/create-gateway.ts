import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { NestApplicationContextOptions } from '@nestjs/common/interfaces/nest-application-context-options.interface.js';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { requireAdminTokenBeforeBody } from './admin/access/admin-token';
import { AppModule } from './app.module';
import { ApiKeyAuthenticator } from './auth/api-key-authenticator';
import { ErrorFilter } from './gateway/errors/error.filter';
import { sendRefusal } from './gateway/errors/send-refusal';
import { authenticateBeforeBody } from './gateway/http/caller';
import { createHttpAdapter, type SocketLimits } from './gateway/http/http-adapter';
import { countInFlight } from './gateway/http/in-flight';
import { CLOCK, type Clock } from './kernel/clock';
import { findProjectRoot } from './platform/config/project-root';
import { Settings } from './platform/config/settings';
import { serveApiDocs } from './platform/http/api-docs';
import { Drain } from './platform/http/drain';
import { RouteBook } from './platform/http/route-book';
import { GatewayLogger } from './platform/logging/gateway-logger';

/** The gateway, ready to listen. Database checked and migrated; what stands in the way is thrown, BootError in words. */
export async function createGateway(
  settings: Settings,
  limits: SocketLimits = socketLimits(settings),
): Promise<NestFastifyApplication> {
  const routes = new RouteBook();
  const adapter = createHttpAdapter(limits, routes);
  const options = Object.assign(new NestApplicationContextOptions(), {
    bodyParser: false,
    logger: GatewayLogger.of(settings),
    abortOnError: false,
  });
  const app = await NestFactory.create<NestFastifyApplication>(AppModule.register(settings), adapter, options);
  app.useGlobalFilters(new ErrorFilter(app.get<Clock>(CLOCK), routes));
  countInFlight(adapter.getInstance(), app.get(Drain));
  authenticateBeforeBody(adapter.getInstance(), app.get(ApiKeyAuthenticator), sendRefusal);
  requireAdminTokenBeforeBody(adapter.getInstance(), settings.adminToken, sendRefusal);
  if (settings.showsDocs) serveApiDocs(app, productVersion());
  await app.init();
  return app;
}

function socketLimits(settings: Settings): SocketLimits {
  return {
    headersMs: 15_000,
    requestMs: 120_000,
    keepAliveMs: 75_000,
    // An upstream may think for its whole time before the first byte of a long answer.
    silenceMs: settings.upstreamTotalMs + 60_000,
    checkMs: 1_000,
  };
}

function productVersion(): string {
  const { version } = JSON.parse(readFileSync(join(findProjectRoot(), 'package.json'), 'utf8')) as { version: string };
  return version;
}
