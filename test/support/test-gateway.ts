import { mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../../src/platform/embedded/free-port';
import { lastLines, type ServerProcess, startServerProcess } from '../../src/platform/embedded/server-process';
import { ensureBuilt } from './ensure-built';
import { PROJECT_FOLDER } from './test-root';
import { TEST_SECRETS } from './test-settings';
import { testState } from './test-state';

export interface GatewayOptions {
  readonly databaseUrl: string;
  readonly redisUrl: string;
  /** More variables, or other values for those set here. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface TestGateway {
  readonly url: string;
  readonly port: number;
  readonly adminToken: string;
  readonly pid: number;
  /** The exit code once it is gone; 128 + the signal's number when one ended it. */
  readonly ended: Promise<number>;
  /** SIGTERM, and wait for the drain. */
  stop(): Promise<void>;
  kill9(): Promise<void>;
  /** Everything it has written to stdout and stderr. */
  logs(): string;
}

const READY_WITHIN_MS = 30_000;

/** The compiled gateway as a process of its own, answering /health/ready with 200. */
export async function startGateway(options: GatewayOptions): Promise<TestGateway> {
  const port = await freePort(0);
  const { server, logFile } = await launchGateway({ ...options, env: { PORT: String(port), ...options.env } });
  const url = `http://127.0.0.1:${port}`;
  await waitUntilReady(url, server, logFile);
  return {
    url,
    port,
    adminToken: options.env?.ADMIN_TOKEN ?? TEST_SECRETS.ADMIN_TOKEN,
    pid: server.pid,
    ended: server.ended,
    stop: () =>
      server.stop([
        ['SIGTERM', 40_000],
        ['SIGKILL', 5_000],
      ]),
    kill9: () => server.kill9(),
    logs: () => readFileSync(logFile, 'utf8'),
  };
}

/** Starts the process and does not wait: for boots that are meant to fail. */
export async function launchGateway(options: GatewayOptions): Promise<{ server: ServerProcess; logFile: string }> {
  const built = await ensureBuilt();
  const folder = mkdtempSync(join(testState().root, 'gateway-'));
  const logFile = join(folder, 'gateway.log');
  const server = startServerProcess({
    command: process.execPath,
    args: [join(built, 'src', 'main.js')],
    pidFile: join(folder, 'gateway.pid.json'),
    logFile,
    spawn: {
      cwd: PROJECT_FOLDER,
      env: {
        PATH: process.env.PATH,
        NODE_ENV: 'test',
        DATABASE_URL: options.databaseUrl,
        REDIS_URL: options.redisUrl,
        ...TEST_SECRETS,
        ...options.env,
      },
    },
  });
  return { server, logFile };
}

async function waitUntilReady(url: string, server: ServerProcess, logFile: string): Promise<void> {
  const deadline = performance.now() + READY_WITHIN_MS;
  while (performance.now() < deadline && !server.hasEnded()) {
    const isReady = await fetch(`${url}/health/ready`).then(
      (response) => response.ok,
      () => false,
    );
    if (isReady) return;
    await delay(25);
  }
  await server.kill9();
  throw new Error(`the gateway did not become ready:\n${lastLines(logFile, 40)}`);
}
