import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { freePort } from './free-port';
import { identify, stopByRecord, stopOrphan, worksInFolder } from './process-identity';
import { lastLines, type ServerProcess, startServerProcess } from './server-process';
import { makePrivateFolder, type ServerUser } from './server-user';
import { messageOf } from '../../kernel/error-message';

export interface EmbeddedPostgresOptions {
  /** Holds the cluster, its password and its pid file; kept over restarts. */
  readonly folder: string;
  readonly binaries: string;
  readonly logFile: string;
  readonly user?: ServerUser | undefined;
  /** The first port to try; 0 for any. */
  readonly port: number;
  /** False only for tests: a crash of the machine (not of a process) may then lose the cluster. */
  readonly isDurable: boolean;
  readonly maxConnections?: number;
}

export interface EmbeddedPostgres {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  readonly process: ServerProcess;
  stop(): Promise<void>;
  kill9(): Promise<void>;
}

const SUPERUSER = 'tollgate';
const DATABASE = 'tollgate';
const STOP_SIGNALS = [
  ['SIGINT', 10_000],
  ['SIGQUIT', 5_000],
  ['SIGKILL', 5_000],
] as const;
const READY_WITHIN_MS = 60_000;

/**
 * A real Postgres on 127.0.0.1, driven by its own binaries. Contract: one server per folder (a living one that an
 * earlier run left is stopped first), and what was committed is there again after any kill.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  mkdirSync(options.folder, { recursive: true, mode: 0o711 });
  if (options.user !== undefined) chmodSync(options.folder, 0o711);
  const cluster = join(options.folder, 'cluster');
  await stopLeftover(options.folder, cluster);
  const password = await ensureCluster(options, cluster);
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort(options.port);
    const server = launch(options, cluster, port);
    if (await isReady(server, cluster)) {
      const serverUrl = `postgres://${SUPERUSER}:${password}@127.0.0.1:${port}`;
      await ensureDatabase(serverUrl);
      return {
        url: `${serverUrl}/${DATABASE}`,
        port,
        pid: server.pid,
        process: server,
        stop: () => server.stop(STOP_SIGNALS),
        kill9: () => server.kill9(),
      };
    }
    await server.stop(STOP_SIGNALS);
    // A port taken between our look and its bind, or the last breath of killed backends, passes: try again.
    if (attempt === 5) {
      throw new Error(`Postgres did not start; ${options.logFile} ends with:\n${lastLines(options.logFile)}`);
    }
    await delay(200 * attempt);
  }
}

async function stopLeftover(folder: string, cluster: string): Promise<void> {
  await stopOrphan(join(folder, 'postgres.pid.json'), STOP_SIGNALS);
  const lockFile = join(cluster, 'postmaster.pid');
  if (!existsSync(lockFile)) return;
  // Only reached when the record was not written or is lost: Postgres' own lock file names the process.
  const pid = Number(readFileSync(lockFile, 'utf8').split('\n')[0]);
  const record = pid > 0 && worksInFolder(pid, cluster) ? identify(pid) : undefined;
  if (record !== undefined && !(await stopByRecord(record, STOP_SIGNALS))) {
    throw new Error(`the Postgres of ${cluster} (pid ${pid}) does not end`);
  }
  rmSync(lockFile, { force: true });
}

/** Makes the cluster once and returns its password. initdb works beside and is renamed in, so a killed one leaves none. */
async function ensureCluster(options: EmbeddedPostgresOptions, cluster: string): Promise<string> {
  const passwordFile = join(options.folder, 'password');
  if (existsSync(join(cluster, 'PG_VERSION'))) return readFileSync(passwordFile, 'utf8').trim();
  const password = randomBytes(24).toString('base64url');
  rmSync(cluster, { recursive: true, force: true });
  makePrivateFolder(cluster, options.user);
  const handedOver = join(options.folder, 'initdb-password');
  rmSync(handedOver, { force: true });
  writeFileSync(handedOver, password, { mode: 0o600 });
  if (options.user !== undefined) chownSync(handedOver, options.user.uid, options.user.gid);
  writeFileSync(passwordFile, password, { mode: 0o600 });
  const args = [
    '-D',
    cluster,
    '-U',
    SUPERUSER,
    '-E',
    'UTF8',
    '--locale=C',
    '--auth=scram-sha-256',
    `--pwfile=${handedOver}`,
  ];
  try {
    await promisify(execFile)(
      join(options.binaries, 'bin', 'initdb'),
      options.isDurable ? args : [...args, '--no-sync'],
      {
        cwd: '/',
        ...identityOf(options.user),
      },
    );
  } catch (error) {
    rmSync(cluster, { recursive: true, force: true });
    throw new Error(`initdb failed: ${messageOf(error)}`, { cause: error });
  } finally {
    rmSync(handedOver, { force: true });
  }
  return password;
}

function launch(options: EmbeddedPostgresOptions, cluster: string, port: number): ServerProcess {
  const settings = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: String(options.maxConnections ?? 100),
    log_min_messages: 'warning',
    log_line_prefix: '%m [%p] %d ',
    ...(options.isDurable ? {} : { fsync: 'off', full_page_writes: 'off' }),
  };
  return startServerProcess({
    command: join(options.binaries, 'bin', 'postgres'),
    args: [
      '-D',
      cluster,
      '-p',
      String(port),
      ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ],
    pidFile: join(options.folder, 'postgres.pid.json'),
    logFile: options.logFile,
    spawn: { cwd: '/', ...identityOf(options.user) },
  });
}

/** Line 8 of postmaster.pid says `ready` once connections are accepted. */
async function isReady(server: ServerProcess, cluster: string): Promise<boolean> {
  const deadline = performance.now() + READY_WITHIN_MS;
  while (performance.now() < deadline && !server.hasEnded()) {
    const lines = existsSync(join(cluster, 'postmaster.pid'))
      ? readFileSync(join(cluster, 'postmaster.pid'), 'utf8').split('\n')
      : [];
    if (Number(lines[0]) === server.pid && lines[7]?.trim() === 'ready') return true;
    await delay(10);
  }
  return false;
}

async function ensureDatabase(serverUrl: string): Promise<void> {
  const client = new Client({ connectionString: `${serverUrl}/postgres` });
  await client.connect();
  try {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [DATABASE]);
    if (rowCount === 0) await client.query(`create database ${DATABASE}`);
  } finally {
    await client.end();
  }
}

function identityOf(user: ServerUser | undefined): { uid?: number; gid?: number } {
  return user === undefined ? {} : { uid: user.uid, gid: user.gid };
}
