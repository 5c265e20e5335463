import { execFileSync } from 'node:child_process';
import { readFileSync, readlinkSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/**
 * A pid alone says nothing after a crash: the number may belong to a stranger by now. A record is trusted only while
 * the process that has this pid also started at the recorded moment of the recorded boot.
 */
export interface ProcessRecord {
  readonly pid: number;
  readonly startedAt: string;
}

const LINUX = process.platform === 'linux';

/** When a running process started, in an opaque unit unique to this boot; undefined for none, or one that only waits to be reaped. */
export function startMoment(pid: number): string | undefined {
  try {
    if (!LINUX)
      return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim() || undefined;
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the command in parentheses and may hold spaces; the third is the state, the 22nd the start.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return `${bootId}:${fields[19] ?? ''}`;
  } catch {
    return undefined;
  }
}

export function identify(pid: number): ProcessRecord | undefined {
  const startedAt = startMoment(pid);
  return startedAt === undefined ? undefined : { pid, startedAt };
}

export function isStillRunning(record: ProcessRecord): boolean {
  return startMoment(record.pid) === record.startedAt;
}

/** Servers change into their data folder: their working directory proves whose they are when no record was written. */
export function worksInFolder(pid: number, folder: string): boolean {
  try {
    if (LINUX) return readlinkSync(`/proc/${pid}/cwd`) === realpathSync(folder);
    return execFileSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' }).includes(folder);
  } catch {
    return false;
  }
}

export function writeRecord(file: string, record: ProcessRecord): void {
  writeFileSync(file, `${JSON.stringify(record)}\n`, { mode: 0o600 });
}

export function readRecord(file: string): ProcessRecord | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (typeof value !== 'object' || value === null || !('pid' in value) || !('startedAt' in value)) return undefined;
    const { pid, startedAt } = value;
    return typeof pid === 'number' && typeof startedAt === 'string' ? { pid, startedAt } : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Sends each signal in turn, waiting its time for the process to go, and resolves true once it is gone. The identity
 * is checked before every signal, so a recycled pid is never hit.
 */
export async function stopByRecord(
  record: ProcessRecord,
  signals: readonly (readonly [NodeJS.Signals, number])[],
): Promise<boolean> {
  for (const [signal, waitMs] of signals) {
    if (!isStillRunning(record)) return true;
    try {
      process.kill(record.pid, signal);
    } catch (error) {
      if (isStillRunning(record)) throw error;
      return true;
    }
    const deadline = performance.now() + waitMs;
    while (performance.now() < deadline) {
      if (!isStillRunning(record)) return true;
      await delay(10);
    }
  }
  return !isStillRunning(record);
}

/** Stops what an earlier, killed run left behind; resolves true when there was something to stop. */
export async function stopOrphan(
  pidFile: string,
  signals: readonly (readonly [NodeJS.Signals, number])[],
): Promise<boolean> {
  const record = readRecord(pidFile);
  if (record === undefined || !isStillRunning(record)) {
    rmSync(pidFile, { force: true });
    return false;
  }
  if (!(await stopByRecord(record, signals))) throw new Error(`process ${record.pid} of ${pidFile} does not end`);
  rmSync(pidFile, { force: true });
  return true;
}
