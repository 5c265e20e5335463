// Plain Node built-ins: this runs before (and decides whether) anything is compiled.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
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
const CACHE = join(PROJECT, 'node_modules', '.cache');
const DIST = join(PROJECT, 'dist');
const LOCK_WAIT_MS = 180_000;
/** A build for tests that no run has asked for in this time is not used any more. */
const KEPT_MS = 3 * 3_600_000;
const ATTEMPTS = 5;

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
  const stamp = join(DIST, '.fingerprint');
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
  const lock = join(CACHE, 'tollgate-build.lock');
  mkdirSync(CACHE, { recursive: true });
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

function compile(outDir) {
  const config = join(CACHE, 'tollgate-tsconfig.json');
  const extending = { extends: join(PROJECT, 'tsconfig.build.json'), compilerOptions: { outDir, rootDir: PROJECT } };
  writeFileSync(config, JSON.stringify(extending));
  const nest = join(PROJECT, 'node_modules', '@nestjs', 'cli', 'bin', 'nest.js');
  // Node 24 of the project where it is installed: the compiler is ESM.
  const bundled = join(PROJECT, 'node_modules', 'node', 'bin', 'node');
  const node = existsSync(bundled) ? bundled : process.execPath;
  // nest resolves the path from the project folder, even an absolute one.
  const result = spawnSync(node, [nest, 'build', '--path', relative(PROJECT, config)], {
    cwd: PROJECT,
    // Errors of the compiler come on its stdout; who runs us for a result shows our stderr.
    stdio: ['ignore', 2, 2],
    env: { ...process.env, PATH: `${join(PROJECT, 'node_modules', '.bin')}${delimiter}${process.env.PATH ?? ''}` },
  });
  if (result.status !== 0 || !existsSync(join(outDir, 'src'))) throw new Error('the build failed');
}

/** Compiles beside dist and swaps it in, so that a failed build leaves the last good one and none is seen half-made. */
function build(wanted) {
  // As deep as dist, so that the paths in the source maps stay right.
  const outDir = join(PROJECT, '.dist-next');
  compile(outDir);
  writeFileSync(join(outDir, '.fingerprint'), wanted);
  const old = join(CACHE, `tollgate-old-${process.pid}`);
  if (existsSync(DIST)) renameSync(DIST, old);
  renameSync(outDir, DIST);
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

/**
 * The folder of a build that nothing changes any more, for one run of the tests: named after its sources, made beside
 * and put there whole. Whoever starts programs of the run finds its name in `pointer`; the first one has it made.
 */
export async function buildApart(pointer) {
  return withLock(() => {
    if (existsSync(pointer)) return;
    const builds = join(CACHE, 'tollgate-builds');
    mkdirSync(builds, { recursive: true });
    for (const name of readdirSync(builds)) {
      const folder = join(builds, name);
      if (Date.now() - statSync(folder).mtimeMs > KEPT_MS) rmSync(folder, { recursive: true, force: true });
    }
    const folder = madeApart(builds);
    utimesSync(folder, new Date(), new Date());
    writeFileSync(`${pointer}.next`, folder);
    renameSync(`${pointer}.next`, pointer);
  });
}

function madeApart(builds) {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const wanted = fingerprint();
    const folder = join(builds, wanted.slice(0, 16));
    if (existsSync(folder)) return folder;
    const next = join(builds, `next-${process.pid}`);
    try {
      if (isFresh(wanted)) cpSync(DIST, next, { recursive: true });
      else compile(next);
      // Where somebody writes while we compile, the build would be half of his change.
      if (fingerprint() !== wanted) continue;
      renameSync(next, folder);
      return folder;
    } finally {
      rmSync(next, { recursive: true, force: true });
    }
  }
  throw new Error('the sources did not hold still for a build');
}

// build-if-stale.mjs [apart POINTER]
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [task, pointer] = process.argv.slice(2);
  (task === 'apart' ? buildApart(pointer) : buildIfStale()).catch((error) => {
    process.stderr.write(`tollgate: ${error.message}\n`);
    process.exitCode = 1;
  });
}
