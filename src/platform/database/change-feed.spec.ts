import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { Logger } from '@nestjs/common';
import { Pool } from 'pg';
import { createTestDatabase, type TestDatabase } from '../../../test/support/test-database';
import { SystemClock } from '../../kernel/clock';
import { newId } from '../../kernel/ids';
import { ChangeFeed, DEFAULT_CHANGE_FEED_TIMING, type ChangeListener } from './change-feed';

const QUICK = { beatMs: 20, silenceMs: 200, firstRetryMs: 10, lastRetryMs: 50 };

let database: TestDatabase;
let pool: Pool;

beforeAll(async () => {
  jest.spyOn(Logger.prototype, 'warn').mockImplementation();
  jest.spyOn(Logger.prototype, 'log').mockImplementation();
  database = await createTestDatabase();
  pool = new Pool({ connectionString: database.url });
});
afterAll(async () => {
  jest.restoreAllMocks();
  await pool.end();
  await database.drop();
});

/** Remembers what it heard, and lets a test wait for it. */
class Recorder implements ChangeListener {
  readonly heard: string[] = [];
  private readonly waiters: { readonly count: number; readonly event: string; readonly resolve: () => void }[] = [];

  changed(id: string): void {
    this.record(id);
  }

  lost(): void {
    this.record('lost');
  }

  /** Resolves when the event has been heard so many times in all. */
  until(event: string, count = 1): Promise<void> {
    if (this.countOf(event) >= count) return Promise.resolve();
    return new Promise((resolve) => this.waiters.push({ count, event, resolve }));
  }

  private record(event: string): void {
    this.heard.push(event);
    for (const { count, event: awaited, resolve } of this.waiters) if (this.countOf(awaited) >= count) resolve();
  }

  private countOf(event: string): number {
    return this.heard.filter((one) => one === event).length;
  }
}

async function withFeed(
  work: (feed: ChangeFeed, recorder: Recorder) => Promise<void>,
  { url = database.url, timing = QUICK } = {},
): Promise<void> {
  const feed = new ChangeFeed({ url }, new SystemClock(), timing);
  const recorder = new Recorder();
  feed.subscribe('tenant', recorder);
  await feed.onModuleInit();
  try {
    await work(feed, recorder);
  } finally {
    await feed.onApplicationShutdown();
  }
}

async function insertTenant(): Promise<string> {
  const id = newId();
  await pool.query(`insert into tenant (id, name, timezone) values ($1, 'Some One', 'UTC')`, [id]);
  return id;
}

const killFeeds = (): Promise<unknown> =>
  pool.query(`select pg_terminate_backend(pid, 5000) from pg_stat_activity
              where datname = current_database() and application_name = 'tollgate-changes'`);

/** A wire that can go silent without closing, as a network does. */
class Wire {
  private readonly sockets = new Set<Socket>();
  private isSilent = false;
  private constructor(private readonly server: Server) {}

  static async to(url: string): Promise<{ wire: Wire; url: string }> {
    const target = new URL(url);
    const server = createServer();
    const wire = new Wire(server);
    server.on('connection', (near) => {
      const far = connect(Number(target.port), target.hostname);
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        wire.sockets.add(from);
        from.on('error', () => undefined);
        from.on('close', () => to.destroy());
        from.on('data', (chunk) => {
          if (!wire.isSilent) to.write(chunk);
        });
      }
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const through = new URL(url);
    through.hostname = '127.0.0.1';
    through.port = String((server.address() as AddressInfo).port);
    return { wire, url: through.href };
  }

  silence(): void {
    this.isSilent = true;
  }

  close(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }
}

describe('the change feed', () => {
  it('tells of a change once it is committed, with the id of its row, to the listeners of that table', async () => {
    await withFeed(async (feed, recorder) => {
      expect(feed.isLive).toBe(true);
      const prices = new Recorder();
      feed.subscribe('price', prices);
      const client = await pool.connect();
      const [rolledBack, committed] = [newId(), newId()];
      const insert = `insert into tenant (id, name, timezone) values ($1, 'Some One', 'UTC')`;
      await client.query('begin');
      await client.query(insert, [rolledBack]);
      await client.query('rollback');
      await client.query(insert, [committed]);
      client.release();
      await recorder.until(committed);
      expect(recorder.heard).toEqual(['lost', committed]);
      expect(prices.heard).toEqual([]);
    });
  });

  it('keeps the others hearing when one listener throws, and forgets one that has left', async () => {
    await withFeed(async (feed, recorder) => {
      const logged = jest.spyOn(Logger.prototype, 'error').mockImplementation();
      const gone = new Recorder();
      feed.subscribe('tenant', gone)();
      feed.subscribe('tenant', {
        changed: () => {
          throw new Error('on purpose');
        },
        lost: () => undefined,
      });
      const last = new Recorder();
      feed.subscribe('tenant', last);
      const id = await insertTenant();
      await Promise.all([recorder.until(id), last.until(id)]);
      expect(gone.heard).toEqual([]);
      expect(logged).toHaveBeenCalledTimes(1);
      logged.mockRestore();
    });
  });

  it('empties every cache when its backend is killed, and again when it hears anew', async () => {
    await withFeed(async (feed, recorder) => {
      const generation = feed.generation;
      const liveness: boolean[] = [];
      feed.subscribe('tenant', { changed: () => undefined, lost: () => liveness.push(feed.isLive) });
      await killFeeds();
      // Once when it began, once when it was lost, once before it is believed again.
      await recorder.until('lost', 3);
      expect(liveness).toEqual([false, false]);
      expect(feed.generation).toBe(generation + 2);
      expect(feed.isLive).toBe(true);
      const id = await insertTenant();
      await recorder.until(id);
      expect(recorder.heard).toEqual(['lost', 'lost', 'lost', id]);
    });
  });

  it('takes a connection on which nothing arrives any more for lost, though it stays open', async () => {
    const { wire, url } = await Wire.to(database.url);
    try {
      await withFeed(
        async (feed, recorder) => {
          wire.silence();
          await insertTenant();
          await recorder.until('lost', 2);
          expect(feed.isLive).toBe(false);
        },
        { url },
      );
    } finally {
      wire.close();
    }
  });

  it('notices a silent connection within 5 s at its ordinary pace', async () => {
    const { wire, url } = await Wire.to(database.url);
    try {
      await withFeed(
        async (_, recorder) => {
          wire.silence();
          const startMs = performance.now();
          await recorder.until('lost', 2);
          expect(performance.now() - startMs).toBeLessThan(5_000);
        },
        { url, timing: DEFAULT_CHANGE_FEED_TIMING },
      );
    } finally {
      wire.close();
    }
  });

  it('is not live, and keeps trying, while there is no Postgres', async () => {
    const { wire, url } = await Wire.to(database.url);
    wire.close();
    const feed = new ChangeFeed({ url }, new SystemClock(), QUICK);
    await feed.onModuleInit();
    expect(feed.isLive).toBe(false);
    await feed.onApplicationShutdown();
  });
});
