import { readFileSync, rmSync, writeFileSync } from 'node:fs';

/**
 * Two benches at once would share the cores they measure and the stores they empty: the second one does not start.
 * @returns how to let the next one in.
 */
export function claimTheMachine(lockFile: string): () => void {
  try {
    writeFileSync(lockFile, String(process.pid), { flag: 'wx' });
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    const pid = Number(readFileSync(lockFile, 'utf8'));
    if (isBench(pid)) throw new Error(`another bench runs (pid ${pid})`, { cause: error });
    // Left by a bench that was killed.
    writeFileSync(lockFile, String(process.pid));
  }
  return () => {
    rmSync(lockFile, { force: true });
  };
}

function isBench(pid: number): boolean {
  try {
    return pid !== process.pid && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('test/bench/main');
  } catch {
    return false;
  }
}
