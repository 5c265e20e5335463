import { Client } from 'pg';
import { createTestDatabase } from './test-database';
import { startTestRedis } from './test-redis';
import { Redis } from 'ioredis';

describe('the test servers', () => {
  it('gives each caller a migrated database that the others do not see', async () => {
    const [first, second] = await Promise.all([createTestDatabase(), createTestDatabase()]);
    const [a, b] = [new Client(first.url), new Client(second.url)];
    await Promise.all([a.connect(), b.connect()]);
    await a.query(`insert into tenant (id, name, timezone) values (gen_random_uuid(), 'first', 'UTC')`);
    expect((await a.query('select name from tenant')).rows).toEqual([{ name: 'first' }]);
    expect((await b.query('select name from tenant')).rows).toEqual([]);
    await Promise.all([a.end(), b.end()]);
    await Promise.all([first.drop(), second.drop()]);
  });

  it('keeps what Redis had written when its process is killed and started again', async () => {
    const server = await startTestRedis();
    const before = new Redis(server.url);
    await before.set('kept', 'yes');
    before.disconnect();
    const { pid } = server;
    await server.kill9();
    await server.restart();
    const after = new Redis(server.url);
    expect(server.pid).not.toBe(pid);
    expect(await after.get('kept')).toBe('yes');
    after.disconnect();
    await server.stop();
  });
});
