import { Redis } from 'ioredis';
import { eventually } from '../../../test/support/eventually';
import { startTestRedis, type TestRedis } from '../../../test/support/test-redis';
import { testSettings } from '../../../test/support/test-settings';
import { RedisConnection, type RedisServer, ServerRefused } from './redis-connection';

describe('the connection to Redis', () => {
  let redis: TestRedis;
  let other: Redis;
  let connection: RedisConnection;
  let seen: RedisServer[];

  beforeEach(async () => {
    redis = await startTestRedis();
    other = new Redis(redis.url, { disconnectTimeout: 0 });
    other.on('error', () => undefined);
    connection = new RedisConnection(testSettings({ redisUrl: redis.url }));
    seen = [];
  });

  afterEach(async () => {
    connection.onApplicationShutdown();
    other.disconnect();
    await redis.stop();
  });

  const accept = (server: RedisServer): Promise<void> => {
    seen.push(server);
    return Promise.resolve();
  };

  it.each(['allkeys-lru', 'volatile-ttl'])(
    'is not used under maxmemory-policy %s, says how to set it, and is used once it is set',
    async (policy) => {
      await other.config('SET', 'maxmemory-policy', policy);
      await connection.open(accept);
      expect(connection.isReady).toBe(false);
      expect(connection.server).toBeUndefined();
      expect(connection.whyNotReady).toMatch(new RegExp(`is ${policy}, .*CONFIG SET maxmemory-policy noeviction`));
      await other.config('SET', 'maxmemory-policy', 'noeviction');
      await eventually('it serves', () => connection.isReady || undefined);
      expect(connection.whyNotReady).toBeUndefined();
    },
  );

  it('needs no right to CONFIG', async () => {
    await other.acl('SETUSER', 'app', 'on', '>secret', '~*', '+@all', '-config');
    const url = new URL(redis.url);
    url.username = 'app';
    url.password = 'secret';
    const limited = new RedisConnection(testSettings({ redisUrl: url.href }));
    await limited.open(accept);
    expect(limited.isReady).toBe(true);
    await expect(limited.client.config('GET', 'maxmemory-policy')).rejects.toThrow(/NOPERM/);
    limited.onApplicationShutdown();
  });

  it('asks a server that was refused again on a new connection each time', async () => {
    let rounds = 0;
    let connects = 0;
    connection.client.on('connect', () => (connects += 1));
    await connection.open(() => {
      rounds += 1;
      return rounds < 3 ? Promise.reject(new ServerRefused('not this one', '10.0.0.1')) : Promise.resolve();
    });
    expect(connection.whyNotReady).toBe('not this one');
    await eventually('it is accepted', () => connection.isReady || undefined);
    expect({ rounds, connects }).toEqual({ rounds: 3, connects: 3 });
  });

  it('is dropped at once when its server is distrusted, but not when it has another server by then', async () => {
    await connection.open(accept);
    const { server } = connection;
    if (!server) throw new Error('not ready');
    connection.distrust({ ...server, runId: 'of-an-earlier-one' }, new ServerRefused('too late'));
    expect(connection.isReady).toBe(true);
    connection.distrust(server, new ServerRefused('no longer'));
    expect(connection.isReady).toBe(false);
    expect(connection.whyNotReady).toBe('no longer');
    await eventually('it is checked anew', () => connection.isReady || undefined);
    expect(seen).toHaveLength(2);
  });

  it('says that Redis is away, without its address', async () => {
    await connection.open(accept);
    await redis.kill9();
    await eventually('the loss is noticed', () => (connection.isReady ? undefined : true));
    expect(connection.whyNotReady).toBe('Redis is away');
  });
});
