import { Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import { Redis } from 'ioredis';
import { Settings } from '../config/settings';

export interface RedisServer {
  /** host:port as this process reaches it. */
  readonly address: string;
  /** Changes whenever the server process does: restart, failover, restored file. */
  readonly runId: string;
}

/** Called on every new connection before it serves commands; a rejection drops the connection and tries again. */
export type ConnectionCheck = (server: RedisServer) => Promise<void>;

const COMMAND_TIMEOUT_MS = 1_000;
const MAX_RECONNECT_DELAY_MS = 500;

/**
 * The one connection to Redis. Commands fail at once while it is down: nothing is queued offline and nothing is resent
 * behind our back, because whoever reserves must know what is unknown. It serves only after every check has passed on
 * the connection, so that no command meets a server whose identity has not been compared.
 */
@Injectable()
export class RedisConnection implements OnApplicationShutdown {
  readonly client: Redis;
  private readonly logger = new Logger(RedisConnection.name);
  private readonly checks: ConnectionCheck[] = [];
  private checkedGeneration = -1;
  private generation = 0;
  private wasDown = false;

  constructor(settings: Settings) {
    this.client = new Redis(settings.redisUrl, {
      lazyConnect: true,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      enableAutoPipelining: true,
      commandTimeout: COMMAND_TIMEOUT_MS,
      connectTimeout: 2_000,
      noDelay: true,
      retryStrategy: (attempt) => Math.min(attempt * 20, MAX_RECONNECT_DELAY_MS),
    });
    this.client.on('ready', () => void this.check(this.generation));
    this.client.on('close', () => {
      this.generation += 1;
    });
    this.client.on('error', (error: Error) => {
      if (!this.wasDown) this.logger.warn(`Redis is away: ${error.message}`);
      this.wasDown = true;
    });
  }

  /** Whether commands may be sent: connected, and this very connection was checked. */
  get isReady(): boolean {
    return this.checkedGeneration === this.generation && this.client.status === 'ready';
  }

  /** Registers a check and opens the connection with the first one. Resolves when the first attempt has been made. */
  async open(check: ConnectionCheck): Promise<void> {
    this.checks.push(check);
    if (this.client.status === 'wait') await this.client.connect().catch(() => undefined);
    await this.check(this.generation);
  }

  /** Rejects when Redis does not answer. */
  async ping(): Promise<void> {
    await this.client.ping();
  }

  onApplicationShutdown(): void {
    this.client.disconnect();
  }

  private async check(generation: number): Promise<void> {
    if (this.client.status !== 'ready' || this.checks.length === 0) return;
    try {
      const info = await this.client.info('server');
      const runId = /^run_id:([0-9a-f]+)/m.exec(info)?.[1];
      if (runId === undefined) throw new Error('INFO server names no run_id');
      const { host = 'localhost', port = 6379 } = this.client.options;
      for (const check of this.checks) await check({ address: `${host}:${port}`, runId });
      this.checkedGeneration = generation;
      if (this.wasDown) this.logger.log('Redis is back and checked');
      this.wasDown = false;
    } catch (error) {
      if (generation !== this.generation) return;
      this.logger.warn(`Redis is not used yet: ${error instanceof Error ? error.message : String(error)}`);
      setTimeout(() => void this.check(generation), MAX_RECONNECT_DELAY_MS).unref();
    }
  }
}
