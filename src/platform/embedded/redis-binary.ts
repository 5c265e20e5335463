import { execFile } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { messageOf } from '../../kernel/error-message';

const run = promisify(execFile);

export interface RedisBinary {
  readonly command: string;
  /** Set where the libraries lie beside an unpacked binary. */
  readonly libraryPath?: string;
}

export interface RedisBinarySearch {
  /** Value of EMBEDDED_REDIS_BINARY. */
  readonly named: string | undefined;
  readonly path: string;
  /** Where Debian's packages are unpacked to, and found again by the next start. */
  readonly unpackFolder: string;
}

const HOW_TO_GET_ONE =
  'install redis-server or valkey-server (for example `apt-get install redis-server`, `brew install redis`), or name a ' +
  'binary in EMBEDDED_REDIS_BINARY, or set REDIS_URL to a running Redis ≥ 6.2';

/** Nothing was found that nobody named. The message says in one line how to get a Redis. */
export class NoRedisFound extends Error {
  override readonly name = 'NoRedisFound';

  constructor(cause: unknown) {
    super(`${HOW_TO_GET_ONE} (${firstLine(cause)})`, { cause });
  }
}

/** A named binary, one on PATH, one unpacked before, or Debian's packages unpacked without root; else NoRedisFound. */
export async function findRedisBinary(search: RedisBinarySearch): Promise<RedisBinary> {
  if (search.named !== undefined) {
    const binary = { command: search.named };
    if (await works(binary)) return binary;
    throw new Error(`EMBEDDED_REDIS_BINARY names ${search.named}, which does not run as a Redis server ≥ 6.2`);
  }
  for (const folder of search.path.split(delimiter).filter((entry) => entry !== '')) {
    for (const name of ['redis-server', 'valkey-server']) {
      const binary = { command: join(folder, name) };
      if (isExecutable(binary.command) && (await works(binary))) return binary;
    }
  }
  const unpacked = unpackedBinary(search.unpackFolder);
  if (unpacked !== undefined && (await works(unpacked))) return unpacked;
  return unpackDebianPackages(search.unpackFolder);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function environment(binary: RedisBinary): NodeJS.ProcessEnv {
  return binary.libraryPath === undefined ? {} : { LD_LIBRARY_PATH: binary.libraryPath };
}

/** Runs it: a binary may be there and still miss its libraries. */
async function works(binary: RedisBinary): Promise<boolean> {
  try {
    const { stdout } = await run(binary.command, ['--version'], { env: environment(binary), timeout: 10_000 });
    const [, major = '0', minor = '0'] = /v=(\d+)\.(\d+)/.exec(stdout) ?? [];
    return Number(major) > 6 || (Number(major) === 6 && Number(minor) >= 2);
  } catch {
    return false;
  }
}

function unpackedBinary(folder: string): RedisBinary | undefined {
  const command = join(folder, 'usr', 'bin', 'redis-server');
  if (!existsSync(command)) return undefined;
  const libraries = [join(folder, 'usr', 'lib'), join(folder, 'lib')].flatMap((root) =>
    existsSync(root) ? [root, ...readdirSync(root).map((name) => join(root, name))] : [],
  );
  return { command, libraryPath: libraries.join(delimiter) };
}

async function unpackDebianPackages(folder: string): Promise<RedisBinary> {
  const partial = `${folder}.${process.pid}`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  try {
    await downloadPackages(partial);
    for (const file of readdirSync(partial).filter((name) => name.endsWith('.deb'))) {
      await run('dpkg-deb', ['-x', file, partial], { cwd: partial });
      rmSync(join(partial, file));
    }
    const candidate = unpackedBinary(partial);
    if (candidate === undefined || !(await works(candidate))) throw new Error('the unpacked redis-server does not run');
    rmSync(folder, { recursive: true, force: true });
    renameSync(partial, folder);
  } catch (error) {
    throw new NoRedisFound(error);
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
  const binary = unpackedBinary(folder);
  if (binary === undefined) throw new NoRedisFound('nothing was unpacked');
  return binary;
}

/** With the machine's package lists, else with lists of our own: neither needs root nor changes the machine. */
async function downloadPackages(folder: string): Promise<void> {
  const ownLists = [
    '-o',
    `Dir::State=${folder}/state`,
    '-o',
    `Dir::Cache=${folder}/cache`,
    '-o',
    'Dir::State::status=/var/lib/dpkg/status',
  ];
  try {
    await download(folder, []);
  } catch {
    mkdirSync(join(folder, 'state', 'lists', 'partial'), { recursive: true });
    mkdirSync(join(folder, 'cache', 'archives', 'partial'), { recursive: true });
    await run('apt-get', [...ownLists, '-qq', 'update'], { timeout: 120_000 });
    await download(folder, ownLists);
    rmSync(join(folder, 'state'), { recursive: true, force: true });
    rmSync(join(folder, 'cache'), { recursive: true, force: true });
  }
}

async function download(folder: string, options: readonly string[]): Promise<void> {
  const { stdout } = await run('apt-cache', [...options, 'depends', 'redis-tools'], { timeout: 30_000 });
  const libraries = [...stdout.matchAll(/^\s*\|?Depends: (lib\S+)$/gm)].map(([, name = '']) => name);
  const packages = ['redis-server', 'redis-tools', ...libraries.filter((name) => name !== 'libc6')];
  await run('apt-get', [...options, '-qq', 'download', ...packages], { cwd: folder, timeout: 120_000 });
}

function firstLine(error: unknown): string {
  const text = messageOf(error);
  return text.split('\n')[0] ?? text;
}
