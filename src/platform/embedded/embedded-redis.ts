import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from './free-port';
import { identify, stopByRecord, stopOrphan, worksInFolder } from './process-identity';
import { type RedisBinary } from './redis-binary';
import { lastLines, type ServerProcess, startServerProcess } from './server-process';

export interface EmbeddedRedisOptions {
  /** Holds the append-only files and the pid file; kept over restarts. */
  readonly folder: string;
  readonly binary: RedisBinary;
  readonly logFile: string;
  /** The first port to try; 0 for any. */
  readonly port: number;
  readonly password?: string | undefined;
}

export interface EmbeddedRedis {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  readonly process: ServerProcess;
  stop(): Promise<void>;
  kill9(): Promise<void>;
}

const STOP_SIGNALS = [
  ['SIGTERM', 10_000],
  ['SIGKILL', 5_000],
] as const;
const READY_WITHIN_MS = 30_000;

/**
 * A real Redis on 127.0.0.1 with the durability production asks for (AOF everysec, noeviction). Contract: never two
 * servers on one folder, because two writers destroy the append-only file.
 */
export async function startEmbeddedRedis(options: EmbeddedRedisOptions): Promise<EmbeddedRedis> {
  mkdirSync(options.folder, { recursive: true, mode: 0o700 });
  chmodSync(options.folder, 0o700);
  await stopLeftover(options.folder);
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort(options.port);
    const server = launch(options, port);
    if (await isReady(server, port, options.password)) {
      const credentials = options.password === undefined ? '' : `:${options.password}@`;
      return {
        url: `redis://${credentials}127.0.0.1:${port}`,
        port,
        pid: server.pid,
        process: server,
        stop: () => server.stop(STOP_SIGNALS),
        kill9: () => server.kill9(),
      };
    }
    await server.stop(STOP_SIGNALS);
    // Somebody took the port between our look and its bind: the next one.
    if (attempt === 3)
      throw new Error(`Redis did not start; ${options.logFile} ends with:\n${lastLines(options.logFile)}`);
  }
}

async function stopLeftover(folder: string): Promise<void> {
  await stopOrphan(join(folder, 'redis.pid.json'), STOP_SIGNALS);
  const ownPidFile = join(folder, 'redis.pid');
  if (!existsSync(ownPidFile)) return;
  const pid = Number(readFileSync(ownPidFile, 'utf8'));
  const record = pid > 0 && worksInFolder(pid, folder) ? identify(pid) : undefined;
  if (record !== undefined && !(await stopByRecord(record, STOP_SIGNALS))) {
    throw new Error(`the Redis of ${folder} (pid ${pid}) does not end`);
  }
  rmSync(ownPidFile, { force: true });
}

function launch(options: EmbeddedRedisOptions, port: number): ServerProcess {
  const configFile = join(options.folder, 'redis.conf');
  const lines = [
    'bind 127.0.0.1',
    `port ${port}`,
    `dir ${JSON.stringify(options.folder)}`,
    `pidfile ${JSON.stringify(join(options.folder, 'redis.pid'))}`,
    'daemonize no',
    'appendonly yes',
    'appendfsync everysec',
    'maxmemory-policy noeviction',
    'save ""',
    // A password belongs in a file that only we read, not in the arguments that everybody sees.
    ...(options.password === undefined ? [] : [`requirepass ${options.password}`]),
  ];
  writeFileSync(configFile, `${lines.join('\n')}\n`, { mode: 0o600 });
  const { libraryPath } = options.binary;
  return startServerProcess({
    command: options.binary.command,
    args: [configFile],
    pidFile: join(options.folder, 'redis.pid.json'),
    logFile: options.logFile,
    spawn: { cwd: options.folder, env: libraryPath === undefined ? {} : { LD_LIBRARY_PATH: libraryPath } },
  });
}

async function isReady(server: ServerProcess, port: number, password: string | undefined): Promise<boolean> {
  const deadline = performance.now() + READY_WITHIN_MS;
  while (performance.now() < deadline && !server.hasEnded()) {
    if (await answersPing(port, password)) return !server.hasEnded();
    await delay(5);
  }
  return false;
}

/** PONG means loaded: while Redis still reads its append-only file it answers LOADING. */
function answersPing(port: number, password: string | undefined): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    const finish = (isAnswered: boolean): void => {
      socket.destroy();
      resolve(isAnswered);
    };
    let answer = '';
    socket.setTimeout(1_000, () => {
      finish(false);
    });
    socket.once('error', () => {
      finish(false);
    });
    socket.on('data', (chunk) => {
      answer += chunk.toString('latin1');
      if (answer.includes('+PONG')) finish(true);
      else if (/^-(LOADING|NOAUTH|WRONGPASS|ERR)/m.test(answer)) finish(false);
    });
    socket.write(password === undefined ? 'PING\r\n' : `AUTH ${password}\r\nPING\r\n`);
  });
}
