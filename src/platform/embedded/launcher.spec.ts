import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
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
  const launcher = join(await ensureBuilt(), 'src', 'platform', 'embedded', 'launcher.js');
  const child = spawn(process.execPath, [launcher], {
    cwd: PROJECT_FOLDER,
    env: { PATH: process.env.PATH, DATA_DIR: dataDir, ...env },
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

/** A data folder to start on. A Redis that the test run has unpacked is lent to it: it need not be downloaded again. */
function newDataDir(): string {
  const dataDir = join(makeTestFolder('start-'), 'data');
  mkdirSync(dataDir, { mode: 0o711 });
  const { command, libraryPath } = testState().redisBinary;
  if (libraryPath !== undefined) symlinkSync(join(command, '../../..'), join(dataDir, 'redis-binary'));
  return dataDir;
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
  beforeAll(ensureBuilt, 120_000);

  describe('where there is no Redis to be found', () => {
    it('says so in one line with how to get one, and serves with Postgres deciding over quota', async () => {
      const dataDir = join(makeTestFolder('start-'), 'data');
      mkdirSync(dataDir, { mode: 0o711 });
      const running = await launch(dataDir, { PATH: makeTestFolder('no-programs-'), PORT: '0' });
      try {
        expect(running.output()).toMatch(
          /^tollgate: no Redis found, so Postgres decides over quota; for Redis install .*REDIS_URL.*$/m,
        );
        expect((await runPrintedCurl(running)).status).toBe(200);
        expect(await (await fetch(`${running.url}/health`)).json()).toMatchObject({ status: 'ok', mode: 'postgres' });
      } finally {
        running.child.kill('SIGTERM');
        await running.exitCode;
      }
    }, 90_000);
  });

  describe('on a taken port', () => {
    let dataDir: string;
    let port: number;
    let stranger: Server;
    let running: Launched;

    beforeAll(async () => {
      dataDir = newDataDir();
      port = await freePort(0);
      stranger = createServer();
      await new Promise<void>((resolve) => stranger.listen(port, '127.0.0.1', resolve));
      running = await launch(dataDir, { PORT: String(port) });
    }, 90_000);

    afterAll(async () => {
      running.child.kill('SIGTERM');
      await running.exitCode;
      stranger.close();
    });

    it('takes the next free one and says so', () => {
      expect(running.url).not.toBe(`http://127.0.0.1:${port}`);
      expect(running.output()).toContain(`port ${port} is taken`);
    });

    it('prints a curl that answers and is charged', async () => {
      const before = await balance(running);
      const answer = await runPrintedCurl(running);
      expect(answer.status).toBe(200);
      expect(await answer.json()).toMatchObject({ object: 'chat.completion' });
      expect(await balance(running)).not.toEqual(before);
    });

    it('keeps its secrets in a file that only the owner can read, and out of its output', () => {
      const file = join(dataDir, 'secrets.json');
      expect(statSync(file).mode & 0o777).toBe(0o600);
      const secrets = JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>;
      expect(Object.keys(secrets).sort()).toEqual(['ADMIN_TOKEN', 'ENCRYPTION_KEY', 'KEY_PEPPER', 'REDIS_PASSWORD']);
      for (const secret of Object.values(secrets)) expect(running.output()).not.toContain(secret);
    });

    it('refuses a second launcher on the same data', async () => {
      await expect(launch(dataDir, { PORT: String(port) })).rejects.toThrow(/already runs on .* \(pid \d+\)/);
      expect(children(dataDir)).toHaveLength(4);
    });

    it('leaves no process after Ctrl-C, and stops the gateway before what it writes to', async () => {
      const pids = children(dataDir);
      running.child.kill('SIGINT');
      expect(await running.exitCode).toBe(0);
      expect(pids.filter(isStillRunning)).toEqual([]);
      const order = [...running.output().matchAll(/stopping (\w+)…/g)].map(([, name]) => name);
      expect(order).toEqual(['gateway', 'simulator', 'Redis', 'Postgres']);
    }, 60_000);
  });

  it('finds key and balance again after a kill −9 of the launcher, whose servers it stops first', async () => {
    const dataDir = newDataDir();
    const port = String(await freePort(0));
    const first = await launch(dataDir, { PORT: port });
    await runPrintedCurl(first);
    const before = await balance(first);
    const orphans = children(dataDir);
    first.child.kill('SIGKILL');
    await first.exitCode;
    expect(orphans.every(isStillRunning)).toBe(true);
    const second = await launch(dataDir, { PORT: port });
    expect(orphans.filter(isStillRunning)).toEqual([]);
    expect(second.key).toBe(first.key);
    expect(second.url).toBe(first.url);
    expect(await balance(second)).toEqual(before);
    expect((await runPrintedCurl(second)).status).toBe(200);

    // And when the gateway is killed, everything goes, with a failure.
    const pids = children(dataDir);
    process.kill(pids[0]?.pid ?? 0, 'SIGKILL');
    expect(await second.exitCode).toBe(137);
    expect(pids.filter(isStillRunning)).toEqual([]);
  }, 120_000);

  it('shows what is wrong when the gateway refuses its settings, without the value, and leaves nothing running', async () => {
    const dataDir = newDataDir();
    const port = String(await freePort(0));
    const failure = await launch(dataDir, { PORT: port, KEY_PEPPER: 'too-short-and-secret' }).catch(String);
    expect(failure).toContain('KEY_PEPPER');
    expect(failure).not.toContain('too-short-and-secret');
    expect(PID_FILES.map((file) => existsSync(join(dataDir, file)))).toEqual([false, false, false, false]);
  }, 90_000);
});
