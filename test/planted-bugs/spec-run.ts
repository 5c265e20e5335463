import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CatchingSpec } from './planted-bugs';

/** What became of test files that ran in a process of their own. */
export interface SpecRun {
  readonly passed: number;
  readonly failed: readonly FailedTest[];
  /** Why it is no run at all: set-up failed, a file could not be loaded, or the time was over. */
  readonly trouble: string | undefined;
  readonly durationMs: number;
}

export interface FailedTest {
  readonly title: string;
  readonly message: string;
  /** By an expectation; a test that only met an error may have failed for any reason. */
  readonly isExpectation: boolean;
}

/** The part of what jest reports with --json that is read here. */
interface JestReport {
  readonly numRuntimeErrorTestSuites: number;
  readonly testResults: readonly {
    readonly message: string;
    readonly assertionResults: readonly {
      readonly status: string;
      readonly fullName: string;
      readonly failureMessages: readonly string[];
      readonly failureDetails: readonly (object | null)[];
    }[];
  }[];
}

/** Of our own run: the child has servers, and a length, of its own. */
const NOT_HANDED_DOWN: ReadonlySet<string> = new Set([
  'JEST_WORKER_ID',
  'TEST_LONG',
  'TEST_RESULT_FILE',
  'TOLLGATE_TEST_STATE',
]);
const LEAVES_WITHIN_MS = 10_000;
const KEPT_OUTPUT_CHARS = 20_000;

/** Runs test files of the project in `folder` with its own jest, which starts its own servers; bounded by `timeoutMs`. */
export async function runSpecs(folder: string, specs: readonly CatchingSpec[], timeoutMs: number): Promise<SpecRun> {
  const startedMs = performance.now();
  const report = join(mkdtempSync(join(folder, '.data', 'report-')), 'jest.json');
  const patterns = specs.flatMap(({ pattern }) => pattern ?? []);
  const { isLate, output } = await runJest(folder, timeoutMs, [
    '--json',
    `--outputFile=${report}`,
    '--maxWorkers=2',
    // The copy lies below .data, which jest would leave out.
    '--testPathIgnorePatterns=/node_modules/',
    ...patterns.flatMap((pattern) => ['--testNamePattern', pattern]),
    '--runTestsByPath',
    ...specs.map(({ path }) => path),
  ]);
  const durationMs = performance.now() - startedMs;
  if (isLate || !existsSync(report)) {
    const trouble = `jest ${isLate ? `was stopped after ${timeoutMs} ms` : 'reported nothing'}:\n${output}`;
    return { passed: 0, failed: [], trouble, durationMs };
  }
  return { ...resultOf(JSON.parse(readFileSync(report, 'utf8')) as JestReport), durationMs };
}

function resultOf({ numRuntimeErrorTestSuites, testResults }: JestReport): Omit<SpecRun, 'durationMs'> {
  const tests = testResults.flatMap(({ assertionResults }) => assertionResults);
  const failed = tests
    .filter(({ status }) => status === 'failed')
    .map(({ fullName, failureMessages: [message = ''], failureDetails }) => ({
      title: fullName,
      message,
      isExpectation: failureDetails.some((detail) => detail !== null && 'matcherResult' in detail),
    }));
  const passed = tests.filter(({ status }) => status === 'passed').length;
  const hasRun = numRuntimeErrorTestSuites === 0 && passed + failed.length > 0;
  const trouble = hasRun ? undefined : ['no test ran', ...testResults.map(({ message }) => message)].join('\n');
  return { passed, failed, trouble };
}

function runJest(
  folder: string,
  timeoutMs: number,
  args: readonly string[],
): Promise<{ isLate: boolean; output: string }> {
  const jest = join(folder, 'node_modules', 'jest', 'bin', 'jest.js');
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !NOT_HANDED_DOWN.has(name)));
  return new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning', jest, ...args],
      { cwd: folder, env, stdio: ['ignore', 'ignore', 'pipe'] },
    );
    let output = '';
    let isLate = false;
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-KEPT_OUTPUT_CHARS);
    });
    let hard: NodeJS.Timeout | undefined;
    // Asked first: it stops its servers on the way out.
    const soft = setTimeout(() => {
      isLate = true;
      child.kill('SIGTERM');
      hard = setTimeout(() => child.kill('SIGKILL'), LEAVES_WITHIN_MS);
    }, timeoutMs);
    child.once('error', reject);
    child.once('close', () => {
      clearTimeout(soft);
      clearTimeout(hard);
      resolve({ isLate, output });
    });
  });
}
