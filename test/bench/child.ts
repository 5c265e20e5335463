import { type ChildProcess, spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { createInterface } from 'node:readline';

export interface Child {
  readonly pid: number;
  /** Resolves with the exit code; null: a signal. */
  readonly ended: Promise<number | null>;
  stop(): Promise<void>;
}

export interface ChildOptions {
  readonly core: number;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Where stderr goes. */
  readonly logFile: string;
  /** The child is ready when it has printed a line that matches; its groups are returned. */
  readonly readyLine?: RegExp;
  readonly readyWithinMs?: number;
}

const hasTaskset = process.platform === 'linux';

/** Starts a program pinned to one core. taskset becomes the program, so the pid is the program's own. */
export async function startChild(
  command: string,
  args: readonly string[],
  options: ChildOptions,
): Promise<Child & { readonly groups: readonly string[] }> {
  const log = openSync(options.logFile, 'a');
  const [file, argv] = hasTaskset ? ['taskset', ['-c', String(options.core), command, ...args]] : [command, [...args]];
  const child = spawn(file, argv, {
    env: options.env ?? process.env,
    cwd: options.cwd,
    stdio: ['ignore', options.readyLine === undefined ? log : 'pipe', log],
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', resolve);
  });
  const groups = options.readyLine === undefined ? [] : await untilLine(child, ended, options.readyLine, options);
  return { pid: child.pid ?? -1, ended, groups, stop: () => stopChild(child, ended) };
}

async function untilLine(
  child: ChildProcess,
  ended: Promise<number | null>,
  pattern: RegExp,
  options: ChildOptions,
): Promise<string[]> {
  if (child.stdout === null) throw new Error('no stdout to read');
  const lines = createInterface({ input: child.stdout });
  const found = new Promise<string[]>((resolve) => {
    // Stays attached: a child that logs on must not block on a full pipe.
    lines.on('line', (line) => {
      const match = pattern.exec(line);
      if (match !== null) resolve(match.slice(1));
    });
  });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`not ready in time; see ${options.logFile}`));
    }, options.readyWithinMs ?? 20_000);
  });
  const gone = ended.then((code) => {
    throw new Error(`ended with ${String(code)} before it was ready; see ${options.logFile}`);
  });
  try {
    return await Promise.race([found, late, gone]);
  } finally {
    clearTimeout(timer);
    gone.catch(() => undefined);
  }
}

async function stopChild(child: ChildProcess, ended: Promise<number | null>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 30_000);
  await ended;
  clearTimeout(timer);
}
