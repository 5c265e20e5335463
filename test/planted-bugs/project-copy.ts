import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { PROJECT_FOLDER } from '../support/test-root';
import { makeTestFolder, testState } from '../support/test-state';
import { type PlantedBug, withBug } from './planted-bugs';

/** Not of the project: made by its tools, or somebody's own. */
const LEFT_OUT: ReadonlySet<string> = new Set([
  '.data',
  '.dist-next',
  '.env',
  '.git',
  'bench-results',
  'coverage',
  'dist',
  'node_modules',
]);
/** What an earlier run has unpacked, so that each copy need not fetch it anew. */
const UNPACKED = /^(?:redis-binary|postgres-[\d.]+\S*)$/;

/** The project in a folder of its own, with the packages of this one; it goes with the other data of this run. */
export class ProjectCopy {
  readonly folder = makeTestFolder('planted-');

  constructor() {
    for (const name of readdirSync(PROJECT_FOLDER).filter((entry) => !LEFT_OUT.has(entry))) {
      cpSync(join(PROJECT_FOLDER, name), join(this.folder, name), { recursive: true });
    }
    symlinkSync(join(PROJECT_FOLDER, 'node_modules'), join(this.folder, 'node_modules'));
    const [data, ours] = [join(this.folder, '.data'), dirname(testState().root)];
    // Postgres runs as another user where we are root.
    mkdirSync(data, { mode: 0o711 });
    for (const name of readdirSync(ours).filter((entry) => UNPACKED.test(entry) && existsSync(join(ours, entry)))) {
      symlinkSync(join(ours, name), join(data, name));
    }
  }

  /** With the bug in for as long as `work` runs. */
  async with<T>(bug: PlantedBug, work: () => Promise<T>): Promise<T> {
    const planted = withBug(bug, this.folder);
    const sound = new Map([...planted.keys()].map((path) => [path, readFileSync(join(this.folder, path), 'utf8')]));
    this.write(planted);
    try {
      return await work();
    } finally {
      this.write(sound);
    }
  }

  private write(texts: ReadonlyMap<string, string>): void {
    for (const [path, text] of texts) writeFileSync(join(this.folder, path), text);
  }
}
