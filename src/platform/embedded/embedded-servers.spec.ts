import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { PROJECT_FOLDER } from '../../../test/support/test-root';
import { makeTestFolder, testState } from '../../../test/support/test-state';
import { prepareDataRoot } from './data-root';
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded-postgres';
import { type EmbeddedRedis, startEmbeddedRedis } from './embedded-redis';
import { freePort } from './free-port';
import { postgresBinaries } from './postgres-binaries';
import { isStillRunning, readRecord, startMoment } from './process-identity';

function startPostgres(folder: string, port = 0): Promise<EmbeddedPostgres> {
  const data = prepareDataRoot(join(PROJECT_FOLDER, '.data'), PROJECT_FOLDER);
  return startEmbeddedPostgres({
    folder,
    binaries: postgresBinaries(PROJECT_FOLDER, data.folder, data.user),
    logFile: join(testState().root, 'embedded-servers-postgres.log'),
    user: data.user,
    port,
    isDurable: false,
  });
}

function startRedis(folder: string, port = 0): Promise<EmbeddedRedis> {
  const { redisBinary: binary, root } = testState();
  const logFile = join(root, 'embedded-servers-redis.log');
  return startEmbeddedRedis({ folder, binary, logFile, port, password: 'a-password' });
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new Client(url);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

function occupy(port: number): Promise<Server> {
  return new Promise((resolve) => {
    const server = createServer().listen(port, '127.0.0.1', () => {
      resolve(server);
    });
  });
}

describe('embedded Postgres', () => {
  let folder: string;

  beforeEach(() => {
    folder = join(makeTestFolder('embedded-'), 'postgres');
  });

  it('keeps what was committed when it is killed', async () => {
    const first = await startPostgres(folder);
    await query(first.url, 'create table kept (n int); insert into kept values (7)');
    await first.kill9();
    const second = await startPostgres(folder);
    expect(await query(second.url, 'select n from kept')).toEqual([{ n: 7 }]);
    await second.stop();
  });

  it.each([
    ['its pid record', () => undefined],
    [
      'only its own lock file',
      () => {
        rmSync(join(folder, 'postgres.pid.json'));
      },
    ],
  ])('stops a server left running on the folder, found by %s, before it starts another', async (_name, forget) => {
    const first = await startPostgres(folder);
    await query(first.url, 'create table kept (n int)');
    forget();
    const second = await startPostgres(folder);
    expect(second.pid).not.toBe(first.pid);
    expect(startMoment(first.pid)).toBeUndefined();
    expect(await query(second.url, 'select n from kept')).toEqual([]);
    await second.stop();
  });

  it('leaves alone a stranger that has the recorded pid', async () => {
    const first = await startPostgres(folder);
    await first.kill9();
    writeFileSync(
      join(folder, 'postgres.pid.json'),
      JSON.stringify({ pid: process.pid, startedAt: 'of another process' }),
    );
    const lockFile = join(folder, 'cluster', 'postmaster.pid');
    writeFileSync(lockFile, readFileSync(lockFile, 'utf8').replace(/^\d+/, String(process.pid)));
    const second = await startPostgres(folder);
    expect(second.pid).not.toBe(process.pid);
    await second.stop();
  });

  it('takes the next free port when its own is taken', async () => {
    const port = await freePort(0);
    const stranger = await occupy(port);
    const server = await startPostgres(folder, port);
    expect(server.port).toBeGreaterThan(port);
    await server.stop();
    stranger.close();
  });

  it('asks for its password', async () => {
    const server = await startPostgres(folder);
    const wrong = new URL(server.url);
    wrong.password = 'wrong';
    await expect(query(wrong.href, 'select 1')).rejects.toThrow(/password authentication failed/);
    await server.stop();
  });
});

describe('embedded Redis', () => {
  let folder: string;

  beforeEach(() => {
    folder = join(makeTestFolder('embedded-'), 'redis');
  });

  it.each([
    ['its pid record', () => undefined],
    [
      'only its own pid file',
      () => {
        rmSync(join(folder, 'redis.pid.json'));
      },
    ],
  ])('stops a server left running on the folder, found by %s, and keeps its data', async (_name, forget) => {
    const first = await startRedis(folder);
    const before = new Redis(first.url);
    await before.set('kept', 'yes');
    before.disconnect();
    forget();
    const second = await startRedis(folder);
    expect(startMoment(first.pid)).toBeUndefined();
    const after = new Redis(second.url);
    expect(await after.get('kept')).toBe('yes');
    expect(await after.config('GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', 'noeviction']);
    after.disconnect();
    await second.stop();
  });

  it('leaves no pid record of a server that was stopped', async () => {
    const server = await startRedis(folder);
    const record = readRecord(join(folder, 'redis.pid.json'));
    expect(record && isStillRunning(record)).toBe(true);
    await server.stop();
    expect(readRecord(join(folder, 'redis.pid.json'))).toBeUndefined();
    expect(startMoment(server.pid)).toBeUndefined();
  });

  it('takes the next free port when its own is taken', async () => {
    const port = await freePort(0);
    const stranger = await occupy(port);
    const server = await startRedis(folder, port);
    expect(server.port).toBeGreaterThan(port);
    await server.stop();
    stranger.close();
  });
});
