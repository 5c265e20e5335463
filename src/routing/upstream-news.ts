import { Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import type { Redis } from 'ioredis';
import { messageOf } from '../kernel/error-message';
import { ProcessIdentity } from '../platform/process/process-identity';
import { RedisConnection } from '../platform/redis/redis-connection';
import { TRIAL_MS } from './breaker';

export interface UpstreamNewsListener {
  /** Another process has opened its breaker; so long is left of it. */
  opened(upstreamId: string, forMs: number): void;
  closed(upstreamId: string): void;
  /** The upstream asked another process to be left alone; so long is left of it. */
  cooling(upstreamId: string, forMs: number): void;
}

/** What Redis says of one upstream: milliseconds that are left; 0 is none. */
export interface SharedTrouble {
  readonly openForMs: number;
  readonly coolingForMs: number;
}

/** One hash tag: all of it lies in one slot of a cluster. */
const PREFIX = 'tg:{upstreams}:';
const CHANNEL = `${PREFIX}news`;
/** Ids of upstreams in trouble, by when that ends at the latest: what a process that starts looks for. */
const TROUBLED = `${PREFIX}troubled`;
/** Clocks of processes differ by less; an entry that stands too long costs a look. */
const KEPT_AFTER_MS = 3_600_000;
const READ_AGAIN_MS = 1_000;

type Kind = 'opened' | 'cooling';
const keyOf = (kind: Kind | 'trial', upstreamId: string): string => `${PREFIX}${kind}:${upstreamId}`;

/**
 * What the processes of one deployment tell each other about upstreams, through Redis: who opens or closes a breaker, or
 * is asked to wait, says so on a channel and leaves a key that ends by itself, for whoever starts or was cut off. Nothing
 * waits for it, nothing fails without it: while Redis is away each process learns for itself, as it does with
 * REDIS_URL=none.
 */
@Injectable()
export class UpstreamNews implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = new Logger(UpstreamNews.name);
  private readonly processId: string;
  private listener: UpstreamNewsListener | undefined;
  /** Hears, and can do nothing else while it does. */
  private ear: Redis | undefined;
  private readTimer: NodeJS.Timeout | undefined;

  constructor(
    private readonly connection: RedisConnection,
    identity: ProcessIdentity,
  ) {
    this.processId = identity.id;
  }

  /** One listener a process. */
  listen(listener: UpstreamNewsListener): void {
    this.listener = listener;
  }

  onApplicationBootstrap(): void {
    if (this.connection.isNone) return;
    const ear = this.connection.client.duplicate({ lazyConnect: true, autoResubscribe: false });
    this.ear = ear;
    ear.on('message', (_channel: string, text: string) => {
      this.hear(text);
    });
    // The connection that asks says when Redis is away.
    ear.on('error', () => undefined);
    ear.on('ready', () => {
      ear.subscribe(CHANNEL).then(
        () => this.readStanding(),
        () => undefined,
      );
    });
    ear.connect().catch(() => undefined);
  }

  onApplicationShutdown(): void {
    clearTimeout(this.readTimer);
    this.ear?.disconnect();
    this.ear = undefined;
  }

  tellOpened(upstreamId: string, forMs: number): void {
    this.tell('opened', upstreamId, forMs);
  }

  tellCooling(upstreamId: string, forMs: number): void {
    this.tell('cooling', upstreamId, forMs);
  }

  tellClosed(upstreamId: string): void {
    this.send((client) =>
      Promise.all([
        client.del(keyOf('opened', upstreamId), keyOf('trial', upstreamId)),
        client.publish(CHANNEL, this.message('closed', upstreamId, 0)),
      ]),
    );
  }

  /** Whether this process may let one call try an upstream that is open. True also where nobody can be asked. */
  async askTrial(upstreamId: string): Promise<boolean> {
    if (!this.connection.isReady) return true;
    try {
      const key = keyOf('trial', upstreamId);
      return (await this.connection.client.set(key, this.processId, 'PX', TRIAL_MS, 'NX')) === 'OK';
    } catch (error) {
      this.logger.debug(`Redis says nothing about a trial: ${messageOf(error)}`);
      return true;
    }
  }

  /** Undefined where Redis cannot be asked. */
  async read(upstreamIds: readonly string[]): Promise<ReadonlyMap<string, SharedTrouble> | undefined> {
    if (!this.connection.isReady) return undefined;
    const { client } = this.connection;
    try {
      const entries = upstreamIds.map(async (id) => {
        const [open, cooling] = await Promise.all([
          client.pttl(keyOf('opened', id)),
          client.pttl(keyOf('cooling', id)),
        ]);
        return [id, { openForMs: Math.max(0, open), coolingForMs: Math.max(0, cooling) }] as const;
      });
      return new Map(await Promise.all(entries));
    } catch (error) {
      this.logger.debug(`Redis says nothing about upstreams: ${messageOf(error)}`);
      return undefined;
    }
  }

  private tell(kind: Kind, upstreamId: string, forMs: number): void {
    const leftMs = Math.ceil(forMs);
    this.send((client) =>
      Promise.all([
        client.set(keyOf(kind, upstreamId), this.processId, 'PX', leftMs),
        // A trial that failed is over: the next one is anybody's.
        ...(kind === 'opened' ? [client.del(keyOf('trial', upstreamId))] : []),
        client.zremrangebyscore(TROUBLED, '-inf', Date.now() - KEPT_AFTER_MS),
        client.zadd(TROUBLED, 'GT', Date.now() + leftMs, upstreamId),
        client.publish(CHANNEL, this.message(kind, upstreamId, leftMs)),
      ]),
    );
  }

  private message(kind: Kind | 'closed', upstreamId: string, forMs: number): string {
    return `${kind} ${upstreamId} ${forMs} ${this.processId}`;
  }

  private send(commands: (client: Redis) => Promise<unknown>): void {
    if (!this.connection.isReady) return;
    commands(this.connection.client).catch((error: unknown) => {
      this.logger.debug(`other processes could not be told of an upstream: ${messageOf(error)}`);
    });
  }

  private hear(text: string): void {
    const [kind, upstreamId, forText, from] = text.split(' ');
    const forMs = Number(forText);
    if (!upstreamId || from === this.processId || !Number.isFinite(forMs)) return;
    if (kind === 'opened') this.listener?.opened(upstreamId, forMs);
    else if (kind === 'cooling') this.listener?.cooling(upstreamId, forMs);
    else if (kind === 'closed') this.listener?.closed(upstreamId);
  }

  /** What was said before this process listened: by what is left of it, whatever the clocks say. */
  private async readStanding(): Promise<void> {
    clearTimeout(this.readTimer);
    const ids = this.connection.isReady
      ? await this.connection.client.zrange(TROUBLED, '0', '-1').catch(() => undefined)
      : undefined;
    const standing = ids && (await this.read(ids));
    if (standing) {
      for (const [id, { openForMs, coolingForMs }] of standing) {
        if (openForMs > 0) this.listener?.opened(id, openForMs);
        if (coolingForMs > 0) this.listener?.cooling(id, coolingForMs);
      }
    } else if (this.ear) {
      this.readTimer = setTimeout(() => void this.readStanding(), READ_AGAIN_MS);
      this.readTimer.unref();
    }
  }
}
