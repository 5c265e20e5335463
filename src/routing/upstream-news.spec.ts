import { eventually } from '../../test/support/eventually';
import { startTestRedis, type TestRedis } from '../../test/support/test-redis';
import { testSettings } from '../../test/support/test-settings';
import { newId } from '../kernel/ids';
import { ProcessIdentity } from '../platform/process/process-identity';
import { RedisConnection } from '../platform/redis/redis-connection';
import { UpstreamNews } from './upstream-news';

/** One process of a deployment: what it tells, and what it hears. */
class Teller {
  readonly heard: string[] = [];
  readonly connection: RedisConnection;
  readonly news: UpstreamNews;

  constructor(redisUrl: string) {
    this.connection = new RedisConnection(testSettings({ redisUrl }));
    this.news = new UpstreamNews(this.connection, new ProcessIdentity());
    const bounded = (forMs: number): string => (forMs > 0 && forMs <= 60_000 ? 'in time' : String(forMs));
    this.news.listen({
      opened: (id, forMs) => this.heard.push(`opened ${id} ${bounded(forMs)}`),
      cooling: (id, forMs) => this.heard.push(`cooling ${id} ${bounded(forMs)}`),
      closed: (id) => this.heard.push(`closed ${id}`),
    });
  }

  async start(): Promise<this> {
    await this.connection.open(() => Promise.resolve());
    this.news.onApplicationBootstrap();
    return this;
  }

  /** Until it hears what is said on the channel, and has read what stood before. */
  async listens(): Promise<this> {
    const id = newId();
    await eventually('it listens', async () => {
      await this.connection.client.publish('tg:{upstreams}:news', `closed ${id} 0 somebody`);
      return this.heard.includes(`closed ${id}`) || undefined;
    });
    this.heard.length = 0;
    return this;
  }

  stop(): void {
    this.news.onApplicationShutdown();
    this.connection.onApplicationShutdown();
  }
}

describe('what processes tell each other about upstreams', () => {
  let redis: TestRedis;
  let tellers: Teller[];

  beforeEach(async () => {
    redis = await startTestRedis();
    tellers = [];
  });
  afterEach(async () => {
    for (const teller of tellers) teller.stop();
    await redis.stop();
  });

  async function start(url = redis.url): Promise<Teller> {
    const teller = new Teller(url);
    tellers.push(teller);
    return teller.start();
  }

  /** Tells until it is heard: a process that has just started may not listen yet. */
  async function heardBy(teller: Teller, tell: () => void, what: string): Promise<void> {
    await eventually(what, () => {
      if (!teller.heard.includes(what)) tell();
      return teller.heard.includes(what) || undefined;
    });
  }

  it('is heard by the others, not by itself', async () => {
    const one = await (await start()).listens();
    const other = await (await start()).listens();
    const id = newId();
    await heardBy(
      other,
      () => {
        one.news.tellOpened(id, 30_000);
      },
      `opened ${id} in time`,
    );
    await heardBy(
      other,
      () => {
        one.news.tellCooling(id, 60_000);
      },
      `cooling ${id} in time`,
    );
    await heardBy(
      other,
      () => {
        one.news.tellClosed(id);
      },
      `closed ${id}`,
    );
    expect(one.heard.filter((what) => what.includes(id))).toEqual([]);
  });

  it('is read by a process that starts later, as far as it still holds', async () => {
    const one = await start();
    const [open, cooling, closed, over] = [newId(), newId(), newId(), newId()];
    one.news.tellOpened(open, 60_000);
    one.news.tellCooling(cooling, 60_000);
    one.news.tellOpened(closed, 60_000);
    one.news.tellClosed(closed);
    one.news.tellOpened(over, 1);
    await eventually('it is over', async () => (await one.news.read([over]))?.get(over)?.openForMs === 0 || undefined);
    const late = await start();
    await eventually('both are heard', () => late.heard.length >= 2 || undefined);
    expect([...late.heard].sort()).toEqual([`cooling ${cooling} in time`, `opened ${open} in time`].sort());
  });

  it('is read again after Redis was away', async () => {
    const [one, other] = [await start(), await start()];
    const id = newId();
    await heardBy(
      other,
      () => {
        one.news.tellOpened(id, 30_000);
      },
      `opened ${id} in time`,
    );
    other.heard.length = 0;
    await redis.restart();
    await eventually('it is back', () => one.connection.isReady || undefined);
    one.news.tellOpened(id, 30_000);
    await heardBy(other, () => undefined, `opened ${id} in time`);
  });

  it('lets one process try at a time, and the next one once that has told what it found', async () => {
    const [one, other] = [await start(), await start()];
    const id = newId();
    const leaves = await Promise.all([one.news.askTrial(id), other.news.askTrial(id), one.news.askTrial(id)]);
    expect(leaves.filter(Boolean)).toHaveLength(1);
    one.news.tellOpened(id, 5);
    await eventually('another may try', async () => (await other.news.askTrial(id)) || undefined);
    other.news.tellClosed(id);
    await eventually('it is forgotten', async () => (await one.news.askTrial(id)) || undefined);
  });

  it('is nothing while Redis is away: everybody may try, nobody fails', async () => {
    const alone = await start('redis://127.0.0.1:1');
    const id = newId();
    alone.news.tellOpened(id, 1_000);
    alone.news.tellCooling(id, 1_000);
    alone.news.tellClosed(id);
    expect(await alone.news.askTrial(id)).toBe(true);
    expect(await alone.news.read([id])).toBeUndefined();
  });

  it('is nothing without Redis at all', async () => {
    const alone = await start('none');
    expect(await alone.news.askTrial(newId())).toBe(true);
    expect(await alone.news.read([newId()])).toBeUndefined();
  });

  it('does not mind what others write on its channel', async () => {
    const [one, other] = [await start(), await start()];
    const id = newId();
    for (const text of ['', 'opened', `opened ${id} soon x`, `opened ${id} NaN x`, `shut ${id} 5 x`, '{}']) {
      await one.connection.client.publish('tg:{upstreams}:news', text);
    }
    await heardBy(
      other,
      () => {
        one.news.tellClosed(id);
      },
      `closed ${id}`,
    );
    expect(other.heard.filter((what) => what !== `closed ${id}`)).toEqual([]);
  });
});
