import { Inject, Injectable, Logger, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { Client } from 'pg';
import { CLOCK, type Clock } from '../../kernel/clock';
import { newId } from '../../kernel/ids';
import { DATABASE_ACCESS, pgConnection, type DatabaseAccess } from './pg-connection';
import { messageOf } from '../../kernel/error-message';

/** A cache that lives by the feed. Both are called synchronously and must not throw. */
export interface ChangeListener {
  /** A row with this id was inserted, changed or deleted by a committed transaction of any process. */
  changed(id: string): void;
  /** Changes may have been missed: forget everything. */
  lost(): void;
}

export interface ChangeFeedTiming {
  readonly beatMs: number;
  /** Without an own beat for this long the connection counts as dead. With one beat it must stay below 5 s. */
  readonly silenceMs: number;
  readonly firstRetryMs: number;
  readonly lastRetryMs: number;
}

export const CHANGE_FEED_TIMING = Symbol('ChangeFeedTiming');

export const DEFAULT_CHANGE_FEED_TIMING: ChangeFeedTiming = {
  beatMs: 1_000,
  silenceMs: 3_000,
  firstRetryMs: 100,
  lastRetryMs: 5_000,
};

const CHANGES_CHANNEL = 'tollgate_changes';

/**
 * What other processes changed, pushed by Postgres (LISTEN/NOTIFY on a connection of its own), so that caches may
 * answer from memory. The connection proves that it still hears by notifying itself: notifications arrive in commit
 * order, so an own beat says that everything before it has arrived.
 *
 *   connecting ── own beat heard ──► live ── no beat for silenceMs, or broken ──► waiting ── pause ──► connecting
 *
 * Leaving `live` and entering it both call every listener's lost(). While not live nothing may be cached: what is read
 * then may change unheard. A read that began before `generation` moved must not be cached either.
 */
@Injectable()
export class ChangeFeed implements OnModuleInit, OnApplicationShutdown {
  private readonly logger = new Logger(ChangeFeed.name);
  private readonly listeners = new Map<string, Set<ChangeListener>>();
  private readonly beatChannel = `tollgate_beat_${newId().replaceAll('-', '')}`;
  private state: 'idle' | 'connecting' | 'live' | 'waiting' | 'stopped' = 'idle';
  private client: Client | undefined;
  private beatTimer: NodeJS.Timeout | undefined;
  private retryTimer: NodeJS.Timeout | undefined;
  private lastBeatMs = 0;
  private isBeatUnderWay = false;
  private failures = 0;
  private generationCount = 0;

  constructor(
    @Inject(DATABASE_ACCESS) private readonly access: DatabaseAccess,
    @Inject(CLOCK) private readonly clock: Clock,
    @Inject(CHANGE_FEED_TIMING) private readonly timing: ChangeFeedTiming,
  ) {}

  /** Whether every change is heard within a beat; only then may a cache be believed. */
  get isLive(): boolean {
    return this.state === 'live';
  }

  /** Moves whenever changes may have been missed. */
  get generation(): number {
    return this.generationCount;
  }

  /** Hears of changes of a table (its trigger names the id, see migrations). Returns what ends the subscription. */
  subscribe(table: string, listener: ChangeListener): () => void {
    const listeners = this.listeners.get(table) ?? new Set();
    this.listeners.set(table, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  /** Begins to listen; returns when the first attempt has succeeded or failed. A failed one is repeated in the background. */
  async onModuleInit(): Promise<void> {
    await this.connect();
  }

  async onApplicationShutdown(): Promise<void> {
    const { client } = this;
    this.state = 'stopped';
    clearTimeout(this.retryTimer);
    this.dropConnection();
    await client?.end().catch(() => undefined);
  }

  private async connect(): Promise<void> {
    this.state = 'connecting';
    const client = new Client(
      pgConnection(this.access, { applicationName: 'tollgate-changes', statementMs: this.timing.silenceMs }),
    );
    this.client = client;
    const broken = (error?: Error): void => {
      this.leave(client, error?.message ?? 'the connection was closed');
    };
    client.on('error', broken);
    client.on('end', broken);
    try {
      await client.connect();
      await client.query(`listen ${CHANGES_CHANNEL}; listen ${this.beatChannel}`);
      if (this.client !== client) return;
      this.lastBeatMs = this.clock.monotonicMs();
      await this.hearFirstBeat(client);
      if (this.client !== client) return;
      this.beatTimer = setInterval(() => {
        this.beat(client);
      }, this.timing.beatMs);
    } catch (error) {
      this.leave(client, reasonOf(error));
    }
  }

  /** Returns when the beat came back: Postgres delivers it before it says that the statement is done. */
  private async hearFirstBeat(client: Client): Promise<void> {
    client.on('notification', ({ channel, payload }) => {
      if (this.client === client) this.hear(channel, payload ?? '');
    });
    await this.sendBeat(client);
  }

  private async sendBeat(client: Client): Promise<void> {
    this.isBeatUnderWay = true;
    await client.query(`notify ${this.beatChannel}`);
    if (this.client === client) this.isBeatUnderWay = false;
  }

  private beat(client: Client): void {
    const silenceMs = this.clock.monotonicMs() - this.lastBeatMs;
    if (silenceMs > this.timing.silenceMs) {
      this.leave(client, `no beat for ${Math.round(silenceMs)} ms`);
      return;
    }
    // One that was not answered yet is not doubled: it would only wait behind it.
    if (this.isBeatUnderWay) return;
    this.sendBeat(client).catch((error: unknown) => {
      this.leave(client, reasonOf(error));
    });
  }

  private hear(channel: string, payload: string): void {
    if (channel === this.beatChannel) {
      this.lastBeatMs = this.clock.monotonicMs();
      if (this.state === 'connecting') this.enterLive();
      return;
    }
    const separator = payload.indexOf(':');
    const id = payload.slice(separator + 1);
    this.tell(this.listeners.get(payload.slice(0, separator)) ?? [], (listener) => {
      listener.changed(id);
    });
  }

  private enterLive(): void {
    if (this.failures > 0) this.logger.log('the change feed is live again');
    this.failures = 0;
    this.loseEverything();
    this.state = 'live';
  }

  private leave(client: Client, reason: string): void {
    if (this.client !== client) return;
    const wasLive = this.state === 'live';
    this.state = 'waiting';
    this.dropConnection();
    if (wasLive || this.failures === 0) this.logger.warn(`the change feed is lost, caches are off: ${reason}`);
    if (wasLive) this.loseEverything();
    // The socket may be dead: nobody waits for its goodbye.
    client.end().catch(() => undefined);
    const { firstRetryMs, lastRetryMs } = this.timing;
    const retryMs = Math.min(lastRetryMs, firstRetryMs * 2 ** Math.min(this.failures, 20));
    this.failures += 1;
    this.retryTimer = setTimeout(() => void this.connect(), retryMs);
  }

  private dropConnection(): void {
    clearInterval(this.beatTimer);
    this.client = undefined;
  }

  private loseEverything(): void {
    this.generationCount += 1;
    for (const listeners of this.listeners.values()) {
      this.tell(listeners, (listener) => {
        listener.lost();
      });
    }
  }

  /** One listener that throws must not keep the others from forgetting. */
  private tell(listeners: Iterable<ChangeListener>, message: (listener: ChangeListener) => void): void {
    for (const listener of listeners) {
      try {
        message(listener);
      } catch (error) {
        this.logger.error({ err: error }, 'a listener of the change feed failed');
      }
    }
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join(', ');
  return messageOf(error);
}
