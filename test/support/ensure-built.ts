import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { PROJECT_FOLDER } from './test-root';

let built: Promise<unknown> | undefined;

/** Once a test file: `npm test` has built before, a single file run by hand may not have. */
export async function ensureBuilt(): Promise<void> {
  const script = join(PROJECT_FOLDER, 'src', 'platform', 'embedded', 'build-if-stale.mjs');
  built ??= promisify(execFile)(process.execPath, [script], { cwd: PROJECT_FOLDER });
  await built;
}
