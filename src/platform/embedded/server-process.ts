import { type ChildProcess, spawn, type SpawnOptions } from 'node:child_process';
import { closeSync, openSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { identify, type ProcessRecord, stopByRecord, writeRecord } from './process-identity';

const LOG_LIMIT_BYTES = 10_000_000;

export interface ServerProcess {
  readonly pid: number;
  /** Resolves when the process is gone: its exit code, 128 + the signal's number, or 127 when it could not start. */
  readonly ended: Promise<number>;
  hasEnded(): boolean;
  stop(signals: readonly (readonly [NodeJS.Signals, number])[]): Promise<void>;
  kill9(): Promise<void>;
}

export interface ServerProcessOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly pidFile: string;
  readonly logFile: string;
  readonly spawn: Pick<SpawnOptions, 'cwd' | 'env' | 'uid' | 'gid'>;
}

/**
 * Starts a server in a session of its own, so that Ctrl-C in the terminal reaches only the launcher, which decides the
 * order; it logs to a file, not to a pipe, so that it survives us with its log intact; and it is written down before
 * anything else can go wrong.
 */
export function startServerProcess(options: ServerProcessOptions): ServerProcess {
  keepLogBounded(options.logFile);
  const log = openSync(options.logFile, 'a', 0o600);
  let child: ChildProcess;
  try {
    child = spawn(options.command, options.args, { ...options.spawn, detached: true, stdio: ['ignore', log, log] });
  } finally {
    closeSync(log);
  }
  let isOver = false;
  const ended = new Promise<number>((resolve) => {
    const finish = (code: number): void => {
      isOver = true;
      rmSync(options.pidFile, { force: true });
      resolve(code);
    };
    child.once('error', () => {
      finish(127);
    });
    child.once('exit', (code, signal) => {
      finish(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
  // What was started may be left running by a caller that ends: the next start finds it by its record.
  child.unref();
  const record: ProcessRecord = identify(child.pid ?? -1) ?? { pid: child.pid ?? -1, startedAt: 'never' };
  writeRecord(options.pidFile, record);
  const stop = async (signals: readonly (readonly [NodeJS.Signals, number])[]): Promise<void> => {
    if (isOver) return;
    if (!(await stopByRecord(record, signals))) throw new Error(`${options.command} (pid ${record.pid}) does not end`);
    await ended;
  };
  return {
    pid: record.pid,
    ended,
    hasEnded: () => isOver,
    stop,
    kill9: () => stop([['SIGKILL', 5_000]]),
  };
}

function keepLogBounded(logFile: string): void {
  try {
    if (statSync(logFile).size > LOG_LIMIT_BYTES) renameSync(logFile, `${logFile}.1`);
  } catch {
    // No log yet.
  }
}

/** The last lines of a log, to say why a server did not start. */
export function lastLines(logFile: string, count = 15): string {
  try {
    return readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-count).join('\n');
  } catch {
    return '(no log)';
  }
}
