import { chmodSync, chownSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/** Postgres refuses to run as root, so root hands it to this user. */
export interface ServerUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

function knownUsers(): ServerUser[] {
  return readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .map(([name = '', , uid, gid]) => ({ name, uid: Number(uid), gid: Number(gid) }))
    .filter((user) => user.name !== '' && user.uid > 0);
}

/**
 * Undefined for everybody but root. Root takes the user who owns the project, else `postgres`, else `nobody`: no
 * account is added to the machine.
 */
export function serverUser(projectFolder: string): ServerUser | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const users = knownUsers();
  const owner = statSync(projectFolder).uid;
  const user =
    users.find((candidate) => candidate.uid === owner) ??
    users.find((candidate) => candidate.name === 'postgres') ??
    users.find((candidate) => candidate.name === 'nobody');
  if (user === undefined) {
    throw new Error(
      'Postgres does not run as root, and this machine has no user postgres or nobody: add one, or set DATABASE_URL',
    );
  }
  return user;
}

/** Whether the user may pass through a folder and everything above it (mode bits; access lists are not read). */
export function canEnter(folder: string, user: ServerUser | undefined): boolean {
  if (user === undefined) return true;
  for (let current = folder; ; current = dirname(current)) {
    const { mode, uid, gid } = statSync(current);
    const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
    if ((mode & bit) === 0) return false;
    if (current === dirname(current)) return true;
  }
}

/** A folder only its owner may read: the server user's where there is one. */
export function makePrivateFolder(folder: string, user: ServerUser | undefined): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  chmodSync(folder, 0o700);
  if (user !== undefined) chownSync(folder, user.uid, user.gid);
}
