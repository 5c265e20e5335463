import 'reflect-metadata';
import type { AddressInfo } from 'node:net';
import { Logger } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { createGateway } from './create-gateway';
import { BootError } from './platform/config/boot-error';
import { loadSettings } from './platform/config/load-settings';
import { Settings } from './platform/config/settings';
import { leaveOnSignal } from './platform/http/leave-on-signal';

async function main(): Promise<void> {
  const settings = loadSettings();
  const app = await createGateway(settings);
  const url = await listen(app, settings);
  leaveOnSignal(app);
  new Logger('Tollgate').log(`listening on ${url}`);
}

/** Past Nest's own listen(), which logs a taken port before anybody can say it in words. */
async function listen(app: NestFastifyApplication, { host, port }: Settings): Promise<string> {
  const fastify = app.getHttpAdapter().getInstance();
  try {
    await fastify.listen({ host, port });
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EADDRINUSE') {
      throw new BootError(`PORT: port ${port} on ${host} is taken by another process; choose a free one`, {
        cause: error,
      });
    }
    if (code === 'EACCES') throw new BootError(`PORT: no right to listen on port ${port}`, { cause: error });
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
      throw new BootError(`HOST: ${host} is not an address of this machine`, { cause: error });
    }
    throw error;
  }
  const { port: actual } = fastify.server.address() as AddressInfo;
  return `http://${host.includes(':') ? `[${host}]` : host}:${actual}`;
}

/** What nobody caught leaves the process in an unknown state: it ends, and the next one finds what it left open. */
process.on('uncaughtException', (error) => {
  new Logger('Tollgate').fatal({ err: error }, 'uncaught');
  process.exit(1);
});

main().catch((error: unknown) => {
  const text = error instanceof Error ? (error instanceof BootError ? error.message : error.stack) : String(error);
  process.stderr.write(`Tollgate cannot start: ${text ?? 'unknown'}\n`);
  process.exit(1);
});
