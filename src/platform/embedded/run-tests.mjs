// The stages of `npm test`. Lint runs beside types and build; jest comes last, alone, and has the last word.
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';

function say(text) {
  process.stdout.write(`tollgate: ${text}\n`);
}

/** Runs one stage. A quiet stage shows its output only at its end, so that two at once stay readable. */
function runStage({ project, env }, name, command, args, isQuiet) {
  const startedMs = Date.now();
  return new Promise((done) => {
    const child = spawn(command, args, {
      cwd: project,
      env,
      stdio: ['ignore', isQuiet ? 'pipe' : 'inherit', isQuiet ? 'pipe' : 'inherit'],
    });
    const forward = (signal) => child.kill(signal);
    for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, forward);
    const output = [];
    child.stdout?.on('data', (chunk) => output.push(chunk));
    child.stderr?.on('data', (chunk) => output.push(chunk));
    const finish = (exitCode) => {
      for (const signal of ['SIGINT', 'SIGTERM']) process.off(signal, forward);
      if (exitCode !== 0) process.stdout.write(Buffer.concat(output));
      say(`${name}: ${exitCode === 0 ? 'ok' : 'FAILED'} in ${((Date.now() - startedMs) / 1000).toFixed(1)} s`);
      done(exitCode);
    };
    child.once('error', () => finish(127));
    child.once('close', (code, signal) => finish(code ?? 128 + constants.signals[signal]));
  });
}

async function sequence(...stages) {
  for (const stage of stages) {
    const exitCode = await stage();
    if (exitCode !== 0) return exitCode;
  }
  return 0;
}

function readResult(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    // Jest ended before it could report: that is a failure by itself.
    return { passed: 0, failed: 1 };
  }
}

/** Resolves the exit code: 0 only when every stage passed. With arguments only jest runs, with those arguments. */
export async function runTests({ project, node, env, args }) {
  const startedMs = Date.now();
  const context = { project, env };
  const bin = (name) => join(project, 'node_modules', '.bin', name);
  const codes = [];
  if (args.length === 0) {
    codes.push(
      ...(await Promise.all([
        sequence(
          () => runStage(context, 'eslint', bin('eslint'), ['.', '--max-warnings', '0'], true),
          () => runStage(context, 'prettier', bin('prettier'), ['--check', '--log-level', 'warn', '.'], true),
          () =>
            runStage(
              context,
              'import boundaries',
              bin('depcruise'),
              ['--config', '.dependency-cruiser.cjs', 'src', 'migrations', 'test'],
              true,
            ),
        ),
        sequence(
          () => runStage(context, 'type check', bin('tsc'), ['--noEmit', '-p', 'tsconfig.json'], true),
          () =>
            runStage(
              context,
              'build',
              node,
              [join(project, 'src', 'platform', 'embedded', 'build-if-stale.mjs')],
              true,
            ),
        ),
      ])),
    );
  }
  const resultFile = join(project, 'node_modules', '.cache', `tollgate-test-result-${process.pid}.json`);
  mkdirSync(join(project, 'node_modules', '.cache'), { recursive: true });
  rmSync(resultFile, { force: true });
  const jest = [
    '--experimental-vm-modules',
    '--disable-warning=ExperimentalWarning',
    join(project, 'node_modules', 'jest', 'bin', 'jest.js'),
    ...args,
  ];
  codes.push(await runStage({ project, env: { ...env, TEST_RESULT_FILE: resultFile } }, 'jest', node, jest, false));
  const { passed, failed } = readResult(resultFile);
  rmSync(resultFile, { force: true });
  say(`wall time ${((Date.now() - startedMs) / 1000).toFixed(0)} s`);
  if (codes.slice(0, -1).some((code) => code !== 0)) say('a check before the tests FAILED, see above');
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  return codes.find((code) => code !== 0) ?? (failed > 0 ? 1 : 0);
}
