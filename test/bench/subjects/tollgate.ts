import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { freePort } from '../../../src/platform/embedded/free-port';
import { startChild } from '../child';
import { processCpuMicros, treeCpuMicros } from '../cpu-clock';
import { type MockUpstream } from '../mock-upstream';
import { type Caller, type Scenario } from '../scenarios';
import { startStores, type Stores } from '../stores';
import { AdminClient } from './admin-client';
import { type BenchTenant, setUp } from './bench-tenants';
import { LedgerProof } from './proof';
import { SimpleProof } from './simple-proof';
import { type Proof, type Subject } from './subject';

export type TollgateName = 'tollgate' | 'tollgate-simple' | 'tollgate-postgres';

export interface TollgateOptions {
  readonly projectFolder: string;
  readonly folder: string;
  readonly mock: MockUpstream;
  readonly core: number;
  /** Extra arguments of node, such as --cpu-prof. */
  readonly nodeArguments: readonly string[];
}

interface Prover {
  prove(scenario: Scenario, answers: number): Promise<Proof>;
}

/**
 * The compiled gateway with everything durable: real Postgres with fsync, real Redis with its AOF. `tollgate-simple` runs
 * with RUN_MODE=simple, `tollgate-postgres` without Redis.
 */
export async function startTollgate(name: TollgateName, options: TollgateOptions): Promise<Subject> {
  const stops: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    // The gateway first: it settles and flushes into the others while it ends.
    for (const end of stops.splice(0).reverse()) await end();
  };
  try {
    const stores = await startStores({ ...options, owner: name, hasRedis: name !== 'tollgate-postgres' }, stops);
    const adminToken = randomBytes(24).toString('hex');
    const port = await freePort(18_200);
    const gateway = await startGateway(
      options,
      { name, port },
      {
        DATABASE_URL: stores.databaseUrl,
        REDIS_URL: stores.redis?.url ?? 'none',
        ADMIN_TOKEN: adminToken,
        RUN_MODE: name === 'tollgate-simple' ? 'simple' : 'standard',
      },
    );
    stops.push(() => gateway.stop());
    const url = `http://127.0.0.1:${port}`;
    const admin = new AdminClient(url, adminToken);
    const tenants = await setUp(admin, options.mock);
    const provers = proversOf(name, stores, tenants, () => readInvariants(admin));
    return {
      name,
      pid: gateway.pid,
      target: (scenario) => ({
        url: `${url}/v1/chat/completions`,
        authorization: `Bearer ${tenants[scenario.caller].key}`,
        body: scenario.requestBody,
      }),
      helpersCpuMicros: () => ({
        ...(stores.redis === undefined ? {} : { redis: processCpuMicros(stores.redis.pid) }),
        postgres: treeCpuMicros(stores.postgresPid),
      }),
      scrape: () => scrape(url, adminToken),
      prove: (scenario, answers) => provers[scenario.caller].prove(scenario, answers),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function proversOf(
  name: TollgateName,
  { databaseUrl, redis }: Stores,
  tenants: Readonly<Record<Caller, BenchTenant>>,
  invariants: () => Promise<string>,
): Readonly<Record<Caller, Prover>> {
  const proverOf = (tenant: BenchTenant): Prover =>
    name === 'tollgate-simple'
      ? new SimpleProof(databaseUrl, redis?.url ?? '', tenant, invariants)
      : new LedgerProof(databaseUrl, tenant, invariants);
  return { unlimited: proverOf(tenants.unlimited), limited: proverOf(tenants.limited) };
}

async function scrape(url: string, adminToken: string): Promise<string> {
  const response = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${adminToken}` } });
  const text = await response.text();
  if (!response.ok) throw new Error(`/metrics: ${response.status} ${text.slice(0, 300)}`);
  return text;
}

async function startGateway(
  options: TollgateOptions,
  { name, port }: { readonly name: TollgateName; readonly port: number },
  settings: Readonly<Record<string, string>>,
): Promise<{ readonly pid: number; stop(): Promise<void> }> {
  const logFile = join(options.folder, `${name}.log`);
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

/** @returns each with its verdict, in one line */
async function readInvariants(admin: AdminClient): Promise<string> {
  const { ok, data } = (await admin.get('invariants')) as {
    readonly ok: boolean;
    readonly data: readonly { readonly id: string; readonly verdict: string }[];
  };
  if (!ok || data.length === 0) throw new Error(`invariants are violated: ${JSON.stringify(data)}`);
  return data.map(({ id, verdict }) => `${id} ${verdict}`).join(', ');
}
