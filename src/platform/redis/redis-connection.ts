import { Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import { Redis } from 'ioredis';
import { Settings } from '../config/settings';
import { messageOf } from '../../kernel/error-message';

export interface RedisServer {
  /** host:port as this process reaches it; two addresses may lead to one server. */
  readonly address: string;
  /** Changes whenever the server process does: restart, failover, restored file. */
  readonly runId: string;
}

/** Why a server that answers must not be used. The message is shown on /health: no addresses, no secrets. */
export class ServerRefused extends Error {
  override readonly name = 'ServerRefused';

  constructor(
    message: string,
    /** What only the log may say. */
    readonly detail?: string,
  ) {
    super(message);
  }
}

/** Called on every new connection before it serves commands; a rejection drops the connection and tries again. */
export type ConnectionCheck = (server: RedisServer) => Promise<void>;

/** After this nobody waits for a command's answer any more; the command itself may still be carried out later. */
const COMMAND_TIMEOUT_MS = 1_000;
/**
 * How long after it was sent a script may still begin to write, by the server's clock (see quota_deduct.lua). Shorter
 * than anybody waits: what was given up is never carried out behind the back of whoever gave it up.
 */
export const BEGINS_WITHIN_MS = 900;
const MAX_RECONNECT_DELAY_MS = 500;
/** For a client that is never connected. */
const NOWHERE = 'redis://127.0.0.1:0';
/** How long a dropped connection may say goodbye before it is torn. */
const DISCONNECT_TIMEOUT_MS = 100;
const AWAY = 'Redis is away';
const UNCHECKED = 'the Redis server could not be checked';
const NONE = 'there is no Redis (REDIS_URL=none)';

/**
 * The one connection to Redis. Commands fail at once while it is down: nothing is queued offline and nothing is resent
 * behind our back, because whoever reserves must know what is unknown. It serves only after every check has passed on
 * the connection, so that no command meets a server whose identity has not been compared.
 *
 *   away ── connected ──► unchecked ── checks pass ──► ready ── closed | distrusted ──► away
 *                             └────── a check rejects: closed after a pause ──────────────┘
 */
@Injectable()
export class RedisConnection implements OnApplicationShutdown {
  readonly client: Redis;
  /** REDIS_URL=none: there is no server, and there never will be one in the life of this process. */
  readonly isNone: boolean;
  private readonly logger = new Logger(RedisConnection.name);
  private readonly checks: ConnectionCheck[] = [];
  /** Moves with every connection that ends, so that what was found out about one is never believed of the next. */
  private generation = 0;
  private checked: { readonly generation: number; readonly server: RedisServer } | undefined;
  private checking: { readonly generation: number; readonly done: Promise<void> } | undefined;
  /** Why it does not serve, as it was last logged; undefined while it does, and where nobody said why it was closed. */
  private trouble: string | undefined;

  constructor(settings: Settings) {
    this.isNone = settings.redisUrl === 'none';
    this.client = new Redis(this.isNone ? NOWHERE : settings.redisUrl, {
      lazyConnect: true,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      enableAutoPipelining: true,
      commandTimeout: COMMAND_TIMEOUT_MS,
      connectTimeout: 2_000,
      noDelay: true,
      disconnectTimeout: DISCONNECT_TIMEOUT_MS,
      retryStrategy: (attempt) => Math.min(attempt * 20, MAX_RECONNECT_DELAY_MS),
    });
    this.client.on('ready', () => void this.check(this.generation));
    this.client.on('close', () => {
      this.generation += 1;
    });
    this.client.on('error', (error: Error) => {
      this.complain(AWAY, error.message);
    });
  }

  /** Whether commands may be sent: connected, and this very connection was checked. */
  get isReady(): boolean {
    return this.checked?.generation === this.generation && this.client.status === 'ready';
  }

  /** The server behind the connection; undefined while no commands may be sent. */
  get server(): RedisServer | undefined {
    return this.isReady ? this.checked?.server : undefined;
  }

  /** Why no commands may be sent, without addresses and secrets; undefined while they may. */
  get whyNotReady(): string | undefined {
    return this.isReady ? undefined : (this.trouble ?? (this.isNone ? NONE : AWAY));
  }

  /** Registers a check and opens the connection with the first one. Resolves when the first attempt has been made. */
  async open(check: ConnectionCheck): Promise<void> {
    if (this.isNone) return;
    this.checks.push(check);
    if (this.client.status === 'wait') await this.client.connect().catch(() => undefined);
    await this.check(this.generation);
  }

  /** Drops the connection to `server` at once and begins anew; nothing where another one has taken its place. */
  distrust(server: RedisServer, reason: ServerRefused): void {
    if (this.server?.runId !== server.runId) return;
    this.checked = undefined;
    this.complain(reason.message, reason.detail);
    this.client.disconnect(true);
  }

  /** Rejects when Redis does not answer. */
  async ping(): Promise<void> {
    await this.client.ping();
  }

  onApplicationShutdown(): void {
    this.client.disconnect();
  }

  private check(generation: number): Promise<void> {
    if (this.checking?.generation === generation) return this.checking.done;
    if (this.client.status !== 'ready' || this.checks.length === 0) return Promise.resolve();
    const checking = {
      generation,
      done: this.checkServer(generation).finally(() => {
        if (this.checking === checking) this.checking = undefined;
      }),
    };
    this.checking = checking;
    return checking.done;
  }

  private async checkServer(generation: number): Promise<void> {
    try {
      const server = await this.identify();
      for (const check of this.checks) await check(server);
      if (generation !== this.generation) return;
      this.checked = { generation, server };
      if (this.trouble !== undefined) this.logger.log(`Redis ${server.address} is checked and serves`);
      this.trouble = undefined;
    } catch (error) {
      if (generation !== this.generation) return;
      if (error instanceof ServerRefused) this.complain(error.message, error.detail);
      else this.complain(UNCHECKED, messageOf(error));
      // Anew, not only asked again: the address may lead to another server by then.
      setTimeout(() => {
        if (generation === this.generation) this.client.disconnect(true);
      }, MAX_RECONNECT_DELAY_MS).unref();
    }
  }

  private async identify(): Promise<RedisServer> {
    const info = await this.client.info();
    const runId = /^run_id:([0-9a-f]+)/m.exec(info)?.[1];
    if (runId === undefined) throw new Error('INFO names no run_id');
    const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1] ?? 'unknown';
    if (policy !== 'noeviction') {
      throw new ServerRefused(
        `Redis' maxmemory-policy is ${policy}, which may evict money: set "maxmemory-policy noeviction" in redis.conf, ` +
          `or run "CONFIG SET maxmemory-policy noeviction"`,
      );
    }
    const { host = 'localhost', port = 6379 } = this.client.options;
    return { address: `${host}:${port}`, runId };
  }

  /** Once for each reason, however often it is met. */
  private complain(trouble: string, detail?: string): void {
    if (trouble !== this.trouble) this.logger.warn(detail === undefined ? trouble : `${trouble}: ${detail}`);
    this.trouble = trouble;
  }
}
