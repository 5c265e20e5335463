import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The folder with nest-cli.json and redis-scripts/: the same whether this file runs from src/ or from dist/src/. */
export function findProjectRoot(from = __dirname): string {
  for (let folder = from; ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'redis-scripts')) && existsSync(join(folder, 'package.json'))) return folder;
    if (folder === dirname(folder)) throw new Error(`no project folder with redis-scripts/ above ${from}`);
  }
}
