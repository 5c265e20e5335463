import { linkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { identify, isStillRunning, readRecord, writeRecord } from './process-identity';

/** One launcher per data folder. Throws while another lives; takes over from one that was killed. */
export function takeLauncherLock(folder: string): { release(): void } {
  const file = join(folder, 'launcher.pid.json');
  const own = identify(process.pid);
  if (own === undefined) throw new Error('this process cannot find itself');
  const draft = `${file}.${process.pid}`;
  writeRecord(draft, own);
  try {
    for (;;) {
      try {
        // A hard link appears whole or not at all, and never over an existing one.
        linkSync(draft, file);
        return {
          release: () => {
            if (readRecord(file)?.pid === own.pid) rmSync(file, { force: true });
          },
        };
      } catch (error) {
        const holder = readRecord(file);
        if (holder !== undefined && isStillRunning(holder)) {
          throw new Error(`Tollgate already runs on ${folder} (pid ${holder.pid}): stop it first, or set DATA_DIR`, {
            cause: error,
          });
        }
        if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
        rmSync(file, { force: true });
      }
    }
  } finally {
    rmSync(draft, { force: true });
  }
}
