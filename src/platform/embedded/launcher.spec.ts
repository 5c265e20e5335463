import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { ensureBuilt } from '../../../test/support/ensure-built';
import { PROJECT_FOLDER } from '../../../test/support/test-root';
import { makeTestFolder, testState } from '../../../test/support/test-state';
import { freePort } from './free-port';
import { isStillRunning, type ProcessRecord, readRecord } from './process-identity';

const READY_WITHIN_MS = 60_000;
const PID_FILES = ['gateway.pid.json', 'simulator.pid.json', 'redis/redis.pid.json', 'postgres/postgres.pid.json'];

interface Launched {
  readonly child: ChildProcess;
  readonly exitCode: Promise<number | null>;
  readonly url: string;
  readonly key: string;
  output(): string;
}

/** The launcher as `npm start` runs it, once it has printed its greeting. */
async function launch(dataDir: string, env: Record<string, string> = {}): Promise<Launched> {
  const child = spawn(process.execPath, [join(PROJECT_FOLDER, 'dist', 'src', 'platform', 'embedded', 'launcher.js')], {
    cwd: PROJECT_FOLDER,
    env: { PATH: process.env.PATH, DATA_DIR: dataDir, EMBEDDED_REDIS_BINARY: redisOnPath(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const exitCode = new Promise<number | null>((resolve) => child.once('close', resolve));
  const greeted = new Promise<boolean>((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        output += chunk.toString();
        if (output.includes('Ctrl-C stops everything')) resolve(true);
      });
    }
    void exitCode.then(() => {
      resolve(false);
    });
    setTimeout(resolve, READY_WITHIN_MS, false).unref();
  });
  if (!(await greeted)) {
    child.kill('SIGKILL');
    throw new Error(`the launcher did not greet:\n${output}`);
  }
  const url = /API\s+(http:\S+)\/v1/.exec(output)?.[1] ?? '';
  const key = /sk-tg-[\w-]+/.exec(output)?.[0] ?? '';
  return { child, exitCode, url, key, output: () => output };
}

/** Empty (unset) where the binary needs libraries of its own: then the launcher unpacks one for its data folder. */
function redisOnPath(): string {
  const { redisBinary } = testState();
  return redisBinary.libraryPath === undefined ? redisBinary.command : '';
}

function children(dataDir: string): ProcessRecord[] {
  return PID_FILES.map((file) => {
    const record = readRecord(join(dataDir, file));
    if (record === undefined || !isStillRunning(record)) throw new Error(`${file} names no running process`);
    return record;
  });
}

async function balance({ url, key }: Launched): Promise<unknown> {
  const response = await fetch(`${url}/v1/balance`, { headers: { authorization: `Bearer ${key}` } });
  return response.json();
}

async function runPrintedCurl({ output }: Launched): Promise<Response> {
  const text = output();
  const url = /curl (\S+)/.exec(text)?.[1] ?? '';
  const headers = [...text.matchAll(/-H '([^:]+): ([^']+)'/g)].map(([, name = '', value = '']) => [name, value]);
  const body = /-d '([^']+)'/.exec(text)?.[1] ?? '';
  return fetch(url, { method: 'POST', headers: Object.fromEntries(headers) as Record<string, string>, body });
}

describe('npm start', () => {
  let dataDir: string;
  let launched: Launched | undefined;
  let port: number;

  beforeAll(ensureBuilt, 120_000);

  beforeEach(async () => {
    dataDir = join(makeTestFolder('start-'), 'data');
    port = await freePort(0);
  });

  afterEach(async () => {
    if (launched === undefined) return;
    launched.child.kill('SIGTERM');
    await launched.exitCode;
    launched = undefined;
  });

  const start = async (env: Record<string, string> = {}): Promise<Launched> => {
    launched = await launch(dataDir, { PORT: String(port), ...env });
    return launched;
  };

  it('prints a curl that answers and is charged, and leaves no process after Ctrl-C', async () => {
    const running = await start();
    const before = await balance(running);
    const answer = await runPrintedCurl(running);
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({ object: 'chat.completion' });
    expect(await balance(running)).not.toEqual(before);
    const pids = children(dataDir);
    running.child.kill('SIGINT');
    expect(await running.exitCode).toBe(0);
    expect(pids.filter(isStillRunning)).toEqual([]);
    const order = [...running.output().matchAll(/stopping (\w+)…/g)].map(([, name]) => name);
    expect(order).toEqual(['gateway', 'simulator', 'Redis', 'Postgres']);
  }, 90_000);

  it('finds key and balance again after a kill −9 of the launcher, whose servers it stops first', async () => {
    const first = await start();
    await runPrintedCurl(first);
    const before = await balance(first);
    const orphans = children(dataDir);
    first.child.kill('SIGKILL');
    await first.exitCode;
    expect(orphans.every(isStillRunning)).toBe(true);
    const second = await start();
    expect(orphans.filter(isStillRunning)).toEqual([]);
    expect(second.key).toBe(first.key);
    expect(second.url).toBe(first.url);
    expect(await balance(second)).toEqual(before);
    expect((await runPrintedCurl(second)).status).toBe(200);
  }, 90_000);

  it('stops everything with a failure when the gateway is killed', async () => {
    const running = await start();
    const pids = children(dataDir);
    process.kill(pids[0]?.pid ?? 0, 'SIGKILL');
    expect(await running.exitCode).toBe(137);
    expect(pids.filter(isStillRunning)).toEqual([]);
  }, 90_000);

  it('takes the next free port when the wanted one is taken, and says so', async () => {
    const stranger = createServer();
    await new Promise<void>((resolve) => stranger.listen(port, '127.0.0.1', resolve));
    const running = await start();
    expect(running.url).not.toBe(`http://127.0.0.1:${port}`);
    expect(running.output()).toContain(`port ${port} is taken`);
    expect((await runPrintedCurl(running)).status).toBe(200);
    stranger.close();
  }, 90_000);

  it('refuses a second launcher on the same data', async () => {
    await start();
    await expect(launch(dataDir, { PORT: String(port) })).rejects.toThrow(/already runs on .* \(pid \d+\)/);
    expect(children(dataDir)).toHaveLength(4);
  }, 90_000);

  it('shows what is wrong when the gateway refuses its settings, without the value', async () => {
    const failure = await start({ KEY_PEPPER: 'too-short-and-secret' }).catch(String);
    expect(failure).toContain('KEY_PEPPER');
    expect(failure).not.toContain('too-short-and-secret');
    expect(existsSync(join(dataDir, 'postgres', 'postgres.pid.json'))).toBe(false);
  }, 90_000);

  it('keeps its secrets and the key in files that only their owner can read', async () => {
    await start({ DEMO: 'off' });
    const file = join(dataDir, 'secrets.json');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const secrets = JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>;
    expect(Object.keys(secrets).sort()).toEqual(['ADMIN_TOKEN', 'ENCRYPTION_KEY', 'KEY_PEPPER', 'REDIS_PASSWORD']);
    for (const secret of Object.values(secrets)) expect(launched?.output()).not.toContain(secret);
  }, 90_000);
});
