import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { type EmbeddedRedis, startEmbeddedRedis } from '../../src/platform/embedded/embedded-redis';
import { testState } from './test-state';

/** A Redis of the caller's own. `restart` starts it again on the same port and data, after `stop` or `kill9`. */
export interface TestRedis {
  readonly url: string;
  readonly port: number;
  readonly dataDir: string;
  /** Of the process that runs now. */
  readonly pid: number;
  stop(): Promise<void>;
  kill9(): Promise<void>;
  restart(): Promise<void>;
}

export async function startTestRedis(): Promise<TestRedis> {
  const { root, redisBinary } = testState();
  const dataDir = mkdtempSync(join(root, 'redis-'));
  const start = (port: number): Promise<EmbeddedRedis> =>
    startEmbeddedRedis({ folder: dataDir, binary: redisBinary, logFile: join(dataDir, 'redis.log'), port });
  let server = await start(0);
  const { url, port } = server;
  return {
    url,
    port,
    dataDir,
    get pid() {
      return server.pid;
    },
    stop: () => server.stop(),
    kill9: () => server.kill9(),
    restart: async () => {
      await server.stop();
      server = await start(port);
      if (server.port !== port) throw new Error(`port ${port} was taken while Redis was down`);
    },
  };
}
