import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { canEnter, serverUser, type ServerUser } from './server-user';

export interface DataRoot {
  readonly folder: string;
  readonly user: ServerUser | undefined;
  /** Set when the data could not lie where it was asked for: a sentence for the log. */
  readonly notice?: string;
}

/** Where root keeps what cannot lie below a closed folder. */
export const HOUSE_FOLDER = '/var/lib/tollgate';

/**
 * Where everything embedded lives. As root, Postgres runs as another user, who must be able to reach its data: a
 * project below a closed folder (such as /root) keeps its data in HOUSE_FOLDER instead, always in the same
 * subfolder, so that it is found again.
 */
export function prepareDataRoot(wanted: string, projectFolder: string): DataRoot {
  const asked = resolve(wanted);
  const user = serverUser(projectFolder);
  if (canEnter(nearestExisting(asked), user)) {
    // Passing through is enough for the server's user: what lies inside is private by itself.
    mkdirSync(asked, { recursive: true, mode: 0o711 });
    if (user !== undefined) chmodSync(asked, 0o711);
    return { folder: asked, user };
  }
  const digest = createHash('sha256').update(asked).digest('hex').slice(0, 12);
  const folder = join(HOUSE_FOLDER, `${basename(dirname(asked))}-${digest}`);
  mkdirSync(folder, { recursive: true, mode: 0o711 });
  const notice = `${asked} cannot be entered by the user ${user?.name ?? ''} that Postgres runs as; the data lies in ${folder}`;
  return { folder, user, notice };
}

function nearestExisting(folder: string): string {
  return existsSync(folder) ? folder : nearestExisting(dirname(folder));
}
