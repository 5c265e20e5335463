import type { Client } from 'pg';
import { BootError } from '../config/boot-error';
import type { Settings } from '../config/settings';
import { APPLICATION_ROLE } from './pg-connection';
import { SQL_STATE, sqlStateOf } from './sql-state';

const OLDEST_VERSION = 15;

interface ServerSettings {
  readonly version: string;
  readonly version_num: string;
  readonly fsync: string;
  readonly synchronous_commit: string;
}

/** Throws BootError where this Postgres would forget money it said was committed, or is too old. */
export async function refuseUnsafePostgres(client: Client, nodeEnv: Settings['nodeEnv']): Promise<void> {
  const { rows } = await client.query<ServerSettings>(
    `select current_setting('server_version') as version, current_setting('server_version_num') as version_num,
            current_setting('fsync') as fsync, current_setting('synchronous_commit') as synchronous_commit`,
  );
  const [server] = rows;
  if (!server) throw new Error('Postgres did not answer with its settings');
  refuseUnsafeSettings(server, nodeEnv);
}

export function refuseUnsafeSettings(server: ServerSettings, nodeEnv: Settings['nodeEnv']): void {
  if (Number(server.version_num) < OLDEST_VERSION * 10_000) {
    throw new BootError(`DATABASE_URL: Postgres ${OLDEST_VERSION} or newer is needed, this one is ${server.version}`);
  }
  if (nodeEnv === 'test') return;
  const off = (['fsync', 'synchronous_commit'] as const).filter((name) => server[name] === 'off');
  if (off.length > 0) {
    throw new BootError(
      `DATABASE_URL: this Postgres runs with ${off.map((name) => `${name} = off`).join(' and ')}: ` +
        'it may lose committed money in a crash. Switch it on.',
    );
  }
}

/**
 * The role under which the gateway should work: the one that cannot change the ledger, if it exists and this user may
 * take it. Asked by trying: membership is spelled differently from version to version.
 */
export async function findApplicationRole(client: Client): Promise<string | undefined> {
  await client.query('begin');
  try {
    await client.query(`set local role ${APPLICATION_ROLE}`);
    return APPLICATION_ROLE;
  } catch (error) {
    const state = sqlStateOf(error);
    if (state === SQL_STATE.invalidParameterValue || state === SQL_STATE.insufficientPrivilege) return undefined;
    throw error;
  } finally {
    await client.query('rollback');
  }
}
