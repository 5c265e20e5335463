import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { BootError } from '../config/boot-error';
import { Settings } from '../config/settings';
import { Metrics } from './metrics';
import { messageOf } from '../../kernel/error-message';

/** `/metrics` on METRICS_PORT, without a token: that port is for the network of the operators. */
@Injectable()
export class MetricsServer implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = new Logger(MetricsServer.name);
  private server: Server | undefined;

  constructor(
    private readonly metrics: Metrics,
    private readonly settings: Settings,
  ) {}

  /** The port it listens on, which METRICS_PORT=0 leaves to the system. */
  get port(): number | undefined {
    return (this.server?.address() as AddressInfo | null | undefined)?.port;
  }

  async onApplicationBootstrap(): Promise<void> {
    const { host, metricsPort } = this.settings;
    if (metricsPort === undefined) return;
    const server = createServer((request, response) => void this.answer(request, response));
    server.listen(metricsPort, host);
    try {
      await once(server, 'listening');
    } catch (error) {
      const reason = messageOf(error);
      throw new BootError(`METRICS_PORT: cannot listen on port ${metricsPort}: ${reason}`, { cause: error });
    }
    server.on('error', (error) => {
      this.logger.error({ err: error }, 'the metrics server failed');
    });
    this.server = server;
    this.logger.log(`metrics on http://${host}:${String(this.port)}/metrics`);
  }

  onApplicationShutdown(): void {
    this.server?.close();
    this.server?.closeAllConnections();
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'GET' || request.url?.split('?')[0] !== '/metrics') {
      response.writeHead(404).end();
      return;
    }
    try {
      const { contentType, text } = await this.metrics.scrape();
      response.writeHead(200, { 'content-type': contentType }).end(text);
    } catch (error) {
      this.logger.error({ err: error }, 'metrics could not be collected');
      response.writeHead(500).end();
    }
  }
}
