import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { PROJECT_FOLDER } from '../support/test-root';
import { applyDiff, type FileDiff, parseUnifiedDiff } from './unified-diff';

/** A patch that makes the product wrong: never applied here, only in a copy, to see that the suite notices. */
export interface PlantedBug {
  readonly name: string;
  /** The promise it breaks. */
  readonly breaks: string;
  /** Who loses money by it, and how. */
  readonly costs: string;
  readonly caughtBy: CatchingSpec;
  readonly files: readonly FileDiff[];
}

/** What fails where the bug is in: a test file, from the project's folder, and which of its tests, where it is slow. */
export interface CatchingSpec {
  readonly path: string;
  readonly pattern: string | undefined;
}

const FOLDER = __dirname;

/** All of them, by name. Throws where one cannot be read. */
export function plantedBugs(): readonly PlantedBug[] {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith('.patch'))
    .sort()
    .map((file) => readBug(basename(file, '.patch'), readFileSync(join(FOLDER, file), 'utf8')));
}

function readBug(name: string, text: string): PlantedBug {
  const { head, files } = parseUnifiedDiff(text);
  const [path = '', pattern] = fieldOf(name, head, 'Caught-by').split(' -t ');
  return {
    name,
    breaks: fieldOf(name, head, 'Breaks'),
    costs: fieldOf(name, head, 'Costs'),
    caughtBy: { path, pattern },
    files,
  };
}

/** A field begins its line and goes on until the next one begins. */
function fieldOf(name: string, head: string, field: string): string {
  const [, text = ''] = new RegExp(`^${field}: ((?:(?!^[A-Z][a-z-]+: ).)*)`, 'ms').exec(head) ?? [];
  const words = text.trim().replaceAll(/\s+/g, ' ');
  if (words === '') throw new Error(`${name}.patch does not say: ${field}`);
  return words;
}

/** The files of the project in `folder` as the bug leaves them, by path. Throws where they have changed under it. */
export function withBug({ files }: PlantedBug, folder = PROJECT_FOLDER): ReadonlyMap<string, string> {
  return new Map(files.map((file) => [file.path, applyDiff(readFileSync(join(folder, file.path), 'utf8'), file)]));
}
