// Plain Node built-ins: this runs before (and decides whether) anything is compiled.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { delimiter, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const PROJECT = resolve(fileURLToPath(new URL('.', import.meta.url)), '../../..');
const SOURCES = [
  'src',
  'migrations',
  'test/simulator',
  'tsconfig.json',
  'tsconfig.build.json',
  'nest-cli.json',
  'package-lock.json',
];
const LOCK_WAIT_MS = 180_000;

function* filesOf(path) {
  const stat = statSync(path);
  if (!stat.isDirectory()) yield `${path}:${stat.size}:${stat.mtimeMs}`;
  else for (const name of readdirSync(path).sort()) yield* filesOf(join(path, name));
}

/** Names, sizes and times of everything that is compiled: a removed file changes it too. */
function fingerprint() {
  const hash = createHash('sha256');
  for (const source of SOURCES.map((name) => join(PROJECT, name)).filter((path) => existsSync(path))) {
    for (const line of filesOf(source)) if (!line.includes('.spec.ts:')) hash.update(`${line}\n`);
  }
  return hash.digest('hex');
}

function isFresh(wanted) {
  const stamp = join(PROJECT, 'dist', '.fingerprint');
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted;
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** One build at a time; a lock whose process is gone is taken over. */
async function withLock(work) {
  const lock = join(PROJECT, 'node_modules', '.cache', 'tollgate-build.lock');
  mkdirSync(join(PROJECT, 'node_modules', '.cache'), { recursive: true });
  for (const deadline = Date.now() + LOCK_WAIT_MS; ;) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
      if (Date.now() > deadline) throw new Error(`another build holds ${lock}`, { cause: error });
    }
    const holder = existsSync(lock) ? Number(readFileSync(lock, 'utf8')) : 0;
    if (holder > 0 && !isAlive(holder)) rmSync(lock, { force: true });
    await new Promise((wake) => setTimeout(wake, 100));
  }
  try {
    return work();
  } finally {
    rmSync(lock, { force: true });
  }
}

/** Compiles beside dist and swaps it in, so that a failed build leaves the last good one and none is seen half-made. */
function build(wanted) {
  const cache = join(PROJECT, 'node_modules', '.cache');
  // As deep as dist, so that the paths in the source maps stay right.
  const outDir = join(PROJECT, '.dist-next');
  const config = join(cache, 'tollgate-tsconfig.json');
  const extending = { extends: join(PROJECT, 'tsconfig.build.json'), compilerOptions: { outDir, rootDir: PROJECT } };
  writeFileSync(config, JSON.stringify(extending));
  const nest = join(PROJECT, 'node_modules', '@nestjs', 'cli', 'bin', 'nest.js');
  // Node 24 of the project where it is installed: the compiler is ESM.
  const bundled = join(PROJECT, 'node_modules', 'node', 'bin', 'node');
  const node = existsSync(bundled) ? bundled : process.execPath;
  // nest resolves the path from the project folder, even an absolute one.
  const result = spawnSync(node, [nest, 'build', '--path', relative(PROJECT, config)], {
    cwd: PROJECT,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, PATH: `${join(PROJECT, 'node_modules', '.bin')}${delimiter}${process.env.PATH ?? ''}` },
  });
  if (result.status !== 0 || !existsSync(join(outDir, 'src'))) throw new Error('the build failed');
  writeFileSync(join(outDir, '.fingerprint'), wanted);
  const dist = join(PROJECT, 'dist');
  const old = join(cache, `tollgate-old-${process.pid}`);
  if (existsSync(dist)) renameSync(dist, old);
  renameSync(outDir, dist);
  rmSync(old, { recursive: true, force: true });
}

/** Resolves true when it had to build. */
export async function buildIfStale() {
  if (isFresh(fingerprint())) return false;
  return withLock(() => {
    const wanted = fingerprint();
    if (isFresh(wanted)) return false;
    process.stdout.write('tollgate: compiling…\n');
    build(wanted);
    return true;
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  buildIfStale().catch((error) => {
    process.stderr.write(`tollgate: ${error.message}\n`);
    process.exitCode = 1;
  });
}
