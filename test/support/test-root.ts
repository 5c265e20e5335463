import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { findProjectRoot } from '../../src/platform/config/project-root';
import { prepareDataRoot, type DataRoot } from '../../src/platform/embedded/data-root';
import {
  identify,
  isStillRunning,
  readRecord,
  stopOrphan,
  writeRecord,
} from '../../src/platform/embedded/process-identity';

export const PROJECT_FOLDER = findProjectRoot(__dirname);
const STOP_HARD = [
  ['SIGQUIT', 3_000],
  ['SIGKILL', 5_000],
] as const;

/** Everything one run of jest keeps on disk lies in a folder of its own, which names the run's process. */
export function makeTestRoot(): { folder: string; data: DataRoot } {
  const data = prepareDataRoot(join(PROJECT_FOLDER, '.data'), PROJECT_FOLDER);
  const folder = join(data.folder, `test-${process.pid}`);
  mkdirSync(folder, { mode: 0o711 });
  const owner = identify(process.pid);
  if (owner === undefined) throw new Error('this process cannot find itself');
  writeRecord(join(folder, 'owner.json'), owner);
  return { folder, data };
}

/** Stops every server whose pid file lies below the folder, then removes it. */
export async function removeTestRoot(folder: string): Promise<void> {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  for (const file of files.filter((name) => name.endsWith('.pid.json')))
    await stopOrphan(join(folder, file), STOP_HARD);
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}

/** A run that was killed could not clean up: the next one does it. */
export async function removeAbandonedRoots(): Promise<void> {
  const { folder } = prepareDataRoot(join(PROJECT_FOLDER, '.data'), PROJECT_FOLDER);
  for (const name of readdirSync(folder).filter((entry) => /^test-\d+$/.test(entry))) {
    const owner = readRecord(join(folder, name, 'owner.json'));
    if (owner === undefined || !isStillRunning(owner)) await removeTestRoot(join(folder, name));
  }
}
