import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { prepareDataRoot } from '../../../src/platform/embedded/data-root';
import { startEmbeddedPostgres } from '../../../src/platform/embedded/embedded-postgres';
import { startEmbeddedRedis } from '../../../src/platform/embedded/embedded-redis';
import { freePort } from '../../../src/platform/embedded/free-port';
import { postgresBinaries } from '../../../src/platform/embedded/postgres-binaries';
import { findRedisBinary } from '../../../src/platform/embedded/redis-binary';
import { startChild } from '../child';
import { processCpuMicros, treeCpuMicros } from '../cpu-clock';
import { type MockUpstream, upstreamBaseUrl } from '../mock-upstream';
import { INPUT_USD_PER_MTOK, OUTPUT_USD_PER_MTOK, SCENARIOS } from '../scenarios';
import { AdminClient, textField } from './admin-client';
import { LedgerProof } from './proof';
import { type Subject } from './subject';

const INITIAL_BALANCE_USD = 1_000_000n;
const NANO_USD_PER_USD = 1_000_000_000n;

export interface TollgateOptions {
  readonly projectFolder: string;
  readonly folder: string;
  readonly mock: MockUpstream;
  readonly core: number;
  /** Extra arguments of node, such as --cpu-prof. */
  readonly nodeArguments: readonly string[];
}

/** The compiled gateway with money on and everything durable: real Postgres with fsync, real Redis with its AOF. */
export async function startTollgate(options: TollgateOptions): Promise<Subject> {
  const stops: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    // The gateway first: it settles and flushes into the others while it ends.
    for (const end of stops.splice(0).reverse()) await end();
  };
  try {
    const stores = await startStores(options, stops);
    const adminToken = randomBytes(24).toString('hex');
    const port = await freePort(18_200);
    const gateway = await startGateway(options, port, {
      DATABASE_URL: stores.databaseUrl,
      REDIS_URL: stores.redisUrl,
      ADMIN_TOKEN: adminToken,
    });
    stops.push(() => gateway.stop());
    const url = `http://127.0.0.1:${port}`;
    const admin = new AdminClient(url, adminToken);
    const { tenantId, key } = await setUp(admin, options.mock);
    const proof = new LedgerProof(stores.databaseUrl, tenantId, INITIAL_BALANCE_USD * NANO_USD_PER_USD, () =>
      readInvariants(admin),
    );
    return {
      name: 'tollgate',
      pid: gateway.pid,
      target: (scenario) => ({
        url: `${url}/v1/chat/completions`,
        authorization: `Bearer ${key}`,
        body: scenario.requestBody,
      }),
      helpersCpuMicros: () => ({
        redis: processCpuMicros(stores.redisPid),
        postgres: treeCpuMicros(stores.postgresPid),
      }),
      prove: (scenario, answers) => proof.prove(scenario, answers),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

interface Stores {
  readonly databaseUrl: string;
  readonly redisUrl: string;
  readonly postgresPid: number;
  readonly redisPid: number;
}

async function startStores(options: TollgateOptions, stops: (() => Promise<void>)[]): Promise<Stores> {
  const root = prepareDataRoot(join(options.projectFolder, '.data'), options.projectFolder);
  const folder = join(root.folder, 'bench-stores');
  // Every bench begins with an empty ledger.
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true, mode: 0o711 });
  const postgres = await startEmbeddedPostgres({
    folder: join(folder, 'postgres'),
    binaries: postgresBinaries(options.projectFolder, root.folder, root.user),
    logFile: join(options.folder, 'postgres.log'),
    user: root.user,
    port: 18_300,
    isDurable: true,
  });
  stops.push(() => postgres.stop());
  const redis = await startEmbeddedRedis({
    folder: join(folder, 'redis'),
    binary: await findRedisBinary({
      named: undefined,
      path: process.env.PATH ?? '',
      unpackFolder: join(root.folder, 'tools', 'redis'),
    }),
    logFile: join(options.folder, 'redis.log'),
    port: 18_400,
  });
  stops.push(() => redis.stop());
  return { databaseUrl: postgres.url, redisUrl: redis.url, postgresPid: postgres.pid, redisPid: redis.pid };
}

async function startGateway(
  options: TollgateOptions,
  port: number,
  settings: Readonly<Record<string, string>>,
): Promise<{ readonly pid: number; stop(): Promise<void> }> {
  const logFile = join(options.folder, 'tollgate.log');
  const child = await startChild(
    process.execPath,
    [...options.nodeArguments, join(__dirname, '..', '..', '..', 'src', 'main.js')],
    {
      core: options.core,
      cwd: options.projectFolder,
      env: {
        PATH: process.env.PATH,
        NODE_ENV: 'production',
        PORT: String(port),
        HOST: '127.0.0.1',
        LOG_LEVEL: 'warn',
        KEY_PEPPER: randomBytes(32).toString('hex'),
        ENCRYPTION_KEY: randomBytes(32).toString('hex'),
        UPSTREAM_ALLOW_PRIVATE: 'true',
        ...settings,
      },
      logFile,
    },
  );
  await untilReady(`http://127.0.0.1:${port}/health/ready`, child.ended, logFile);
  return child;
}

async function untilReady(url: string, ended: Promise<number | null>, logFile: string): Promise<void> {
  let exit: string | undefined;
  void ended.then((code) => (exit = String(code)));
  const deadline = performance.now() + 60_000;
  while (performance.now() < deadline) {
    if (exit !== undefined) throw new Error(`the gateway ended with ${exit}; see ${logFile}`);
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
      await response.arrayBuffer();
      if (response.ok) return;
    } catch {
      // Not listening yet.
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${url} is not ready after 60 s; see ${logFile}`);
}

async function setUp(admin: AdminClient, mock: MockUpstream): Promise<{ tenantId: string; key: string }> {
  const tenant = await admin.post('tenants', {
    name: 'bench',
    initial_balance_usd: String(INITIAL_BALANCE_USD),
    daily_quota: null,
    monthly_quota: null,
  });
  const tenantId = textField(tenant, 'id');
  const key = textField(await admin.post(`tenants/${tenantId}/api-keys`, { name: 'bench' }), 'key');
  for (const scenario of Object.values(SCENARIOS)) {
    const provider = await admin.post('providers', {
      name: `mock ${scenario.name}`,
      kind: 'openai',
      base_url: upstreamBaseUrl(mock, scenario),
      api_key: 'sk-upstream',
    });
    const { model } = scenario;
    await admin.post('prices', {
      model,
      input_usd_per_mtok: INPUT_USD_PER_MTOK,
      output_usd_per_mtok: OUTPUT_USD_PER_MTOK,
    });
    await admin.post('upstreams', {
      provider_id: textField(provider, 'id'),
      name: model,
      model,
      upstream_model: model,
    });
  }
  return { tenantId, key };
}

async function readInvariants(admin: AdminClient): Promise<string> {
  const answer = JSON.stringify(await admin.get('invariants'));
  if (/"(ok|holds|passed)":false/.test(answer)) throw new Error(`invariants are violated: ${answer}`);
  return answer;
}
