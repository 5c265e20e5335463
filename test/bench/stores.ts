import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { prepareDataRoot } from '../../src/platform/embedded/data-root';
import { startEmbeddedPostgres } from '../../src/platform/embedded/embedded-postgres';
import { startEmbeddedRedis } from '../../src/platform/embedded/embedded-redis';
import { postgresBinaries } from '../../src/platform/embedded/postgres-binaries';
import { findRedisBinary } from '../../src/platform/embedded/redis-binary';

export interface Stores {
  readonly databaseUrl: string;
  readonly postgresPid: number;
  /** Undefined where none was wanted. */
  readonly redis: { readonly url: string; readonly pid: number } | undefined;
}

export interface StoresOptions {
  readonly projectFolder: string;
  /** Where logs go. */
  readonly folder: string;
  /** Whose they are: each has its own, so that nobody reads another's ledger. */
  readonly owner: string;
  readonly hasRedis: boolean;
}

/**
 * Postgres with fsync and Redis with its AOF, empty at each start, pinned where the caller is pinned now.
 * @param stops receives how to stop each, in the order they were started
 */
export async function startStores(options: StoresOptions, stops: (() => Promise<void>)[]): Promise<Stores> {
  const root = prepareDataRoot(join(options.projectFolder, '.data'), options.projectFolder);
  const folder = join(root.folder, 'bench-stores', options.owner);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true, mode: 0o711 });
  const postgres = await startEmbeddedPostgres({
    folder: join(folder, 'postgres'),
    binaries: postgresBinaries(options.projectFolder, root.folder, root.user),
    logFile: join(options.folder, `postgres-${options.owner}.log`),
    user: root.user,
    port: 18_300,
    isDurable: true,
  });
  stops.push(() => postgres.stop());
  const database = { databaseUrl: postgres.url, postgresPid: postgres.pid };
  if (!options.hasRedis) return { ...database, redis: undefined };
  const redis = await startEmbeddedRedis({
    folder: join(folder, 'redis'),
    binary: await findRedisBinary({
      named: undefined,
      path: process.env.PATH ?? '',
      unpackFolder: join(root.folder, 'tools', 'redis'),
    }),
    logFile: join(options.folder, `redis-${options.owner}.log`),
    port: 18_400,
  });
  stops.push(() => redis.stop());
  return { ...database, redis: { url: redis.url, pid: redis.pid } };
}
