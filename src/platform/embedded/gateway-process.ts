import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from './free-port';
import { stopOrphan } from './process-identity';
import { lastLines, type ServerProcess, startServerProcess } from './server-process';

export interface ProgramOptions {
  readonly projectFolder: string;
  readonly dataFolder: string;
  readonly say: (line: string) => void;
}

export interface RunningProgram {
  readonly url: string;
  readonly process: ServerProcess;
  stop(): Promise<void>;
}

/** Longer than the gateway's own deadlines for streams, settling and closing. */
const GATEWAY_STOP = [
  ['SIGTERM', 60_000],
  ['SIGKILL', 5_000],
] as const;
const ORPHAN_STOP = [
  ['SIGTERM', 10_000],
  ['SIGKILL', 5_000],
] as const;
const READY_WITHIN_MS = 60_000;
/** Where this file's own build lies (`dist`, as a rule): launcher and programs are always of one build. */
const BUILD_FOLDER = resolve(__dirname, '../../..');

/** Stops what a killed launcher left running, in the order in which it would have stopped it. */
export async function stopOrphanPrograms({ dataFolder, say }: ProgramOptions): Promise<void> {
  for (const name of ['gateway', 'simulator']) {
    const wasRunning = await stopOrphan(join(dataFolder, `${name}.pid.json`), ORPHAN_STOP);
    if (wasRunning) say(`stopped the ${name} that an earlier, killed start had left running`);
  }
}

/** The gateway as a child, ready to serve. `env` holds everything it needs but the port. */
export async function startGatewayProcess(
  options: ProgramOptions & { readonly env: NodeJS.ProcessEnv; readonly isStopping: () => boolean },
): Promise<RunningProgram> {
  const host = options.env.HOST ?? '127.0.0.1';
  const asked = options.env.PORT ?? '3000';
  // A value that is no port goes to the gateway as it is, whose settings say what is wrong with it.
  const port = /^\d{1,5}$/.test(asked) && Number(asked) <= 65_535 ? String(await freePort(Number(asked), host)) : asked;
  if (port !== asked && asked !== '0') options.say(`port ${asked} is taken: the gateway listens on ${port}`);
  const logFile = join(options.dataFolder, 'logs', 'gateway.log');
  const server = startProgram(options, 'gateway', 'src/main.js', { ...options.env, PORT: port });
  const reachable = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host;
  const url = `http://${reachable}:${port}`;
  const deadline = performance.now() + READY_WITHIN_MS;
  while (performance.now() < deadline && !server.hasEnded() && !options.isStopping()) {
    if (await answers(`${url}/health/ready`)) return { url, process: server, stop: () => server.stop(GATEWAY_STOP) };
    await delay(25);
  }
  await server.stop(ORPHAN_STOP);
  if (options.isStopping()) throw new Error('stopped while starting');
  throw new Error(`the gateway did not start; ${logFile} ends with:\n${lastLines(logFile)}`);
}

/** The demo's upstream. It keeps its port over restarts where that is still free. */
export async function startSimulatorProcess(options: ProgramOptions, wantedPort: number): Promise<RunningProgram> {
  const port = await freePort(wantedPort);
  const server = startProgram(options, 'simulator', 'test/simulator/main.js', {
    PATH: process.env.PATH,
    PORT: String(port),
  });
  const url = `http://127.0.0.1:${port}`;
  const deadline = performance.now() + READY_WITHIN_MS;
  while (performance.now() < deadline && !server.hasEnded()) {
    if (await answers(`${url}/__served`)) return { url, process: server, stop: () => server.stop(ORPHAN_STOP) };
    await delay(25);
  }
  await server.stop(ORPHAN_STOP);
  const logFile = join(options.dataFolder, 'logs', 'simulator.log');
  throw new Error(`the demo's simulator did not start; ${logFile} ends with:\n${lastLines(logFile)}`);
}

function startProgram(
  { projectFolder, dataFolder }: ProgramOptions,
  name: string,
  script: string,
  env: NodeJS.ProcessEnv,
): ServerProcess {
  return startServerProcess({
    command: process.execPath,
    args: ['--enable-source-maps', join(BUILD_FOLDER, script)],
    pidFile: join(dataFolder, `${name}.pid.json`),
    logFile: join(dataFolder, 'logs', `${name}.log`),
    spawn: { cwd: projectFolder, env },
  });
}

async function answers(url: string): Promise<boolean> {
  return fetch(url, { signal: AbortSignal.timeout(2_000) }).then(
    (response) => response.ok,
    () => false,
  );
}
