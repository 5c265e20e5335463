import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { PROJECT_FOLDER } from './test-root';
import { testState } from './test-state';

export const BUILD_SCRIPT = join(PROJECT_FOLDER, 'src', 'platform', 'embedded', 'build-if-stale.mjs');

/**
 * The folder with the compiled product: one build for all test files of a run, made by the first that asks and left
 * alone afterwards, whatever is edited or built in `dist` meanwhile.
 */
export async function ensureBuilt(): Promise<string> {
  const pointer = join(testState().root, 'build');
  if (!existsSync(pointer)) {
    await promisify(execFile)(process.execPath, [BUILD_SCRIPT, 'apart', pointer], { cwd: PROJECT_FOLDER });
  }
  return readFileSync(pointer, 'utf8');
}
