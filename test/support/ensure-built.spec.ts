import { execFile } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BUILD_SCRIPT, ensureBuilt } from './ensure-built';
import { PROJECT_FOLDER } from './test-root';
import { makeTestFolder } from './test-state';

describe('the build that test gateways run from', () => {
  it('is one for all who ask, whole, and not dist, which others may rebuild meanwhile', async () => {
    const [first, second] = await Promise.all([ensureBuilt(), ensureBuilt()]);
    expect(first).toBe(second);
    expect(first.startsWith(join(PROJECT_FOLDER, 'dist'))).toBe(false);
    expect(existsSync(join(first, 'src', 'main.js'))).toBe(true);
  }, 120_000);

  it('stays as it is when another run asks for one', async () => {
    const mine = await ensureBuilt();
    const madeMs = statSync(join(mine, 'src', 'main.js')).mtimeMs;
    const pointers = [1, 2, 3].map(() => join(makeTestFolder('build-'), 'pointer'));
    await Promise.all(
      pointers.map((pointer) => promisify(execFile)(process.execPath, [BUILD_SCRIPT, 'apart', pointer])),
    );
    for (const pointer of pointers)
      expect(existsSync(join(readFileSync(pointer, 'utf8'), 'src', 'main.js'))).toBe(true);
    expect(statSync(join(mine, 'src', 'main.js')).mtimeMs).toBe(madeMs);
  }, 120_000);
});
