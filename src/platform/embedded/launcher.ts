import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { findProjectRoot } from '../config/project-root';
import { type DataRoot, prepareDataRoot } from './data-root';
import { type Demo, loadDemo, simulatorPort } from './demo';
import { type DevSecrets, devSecrets, given } from './dev-secrets';
import { startEmbeddedPostgres } from './embedded-postgres';
import { startEmbeddedRedis } from './embedded-redis';
import { type RunningProgram, startGatewayProcess, startSimulatorProcess, stopOrphanPrograms } from './gateway-process';
import { takeLauncherLock } from './launcher-lock';
import { postgresBinaries } from './postgres-binaries';
import { findRedisBinary, NoRedisFound, type RedisBinary } from './redis-binary';
import type { ServerProcess } from './server-process';
import { StopRequest } from './stop-request';
import { messageOf } from '../../kernel/error-message';

const POSTGRES_PORT = 54_320;
const REDIS_PORT = 63_790;

interface Part {
  readonly name: string;
  readonly process: ServerProcess;
  stop(): Promise<void>;
}

function say(line: string): void {
  process.stdout.write(`tollgate: ${line}\n`);
}

/**
 * `npm start`: Postgres, Redis, the demo's upstream and the gateway as children of this process, which only starts and
 * stops. They stop in the reverse order, so that the gateway drains while what it writes to still runs.
 */
class Launcher {
  private readonly project = findProjectRoot(__dirname);
  private readonly parts: Part[] = [];

  constructor(
    private readonly env: NodeJS.ProcessEnv,
    private readonly stopRequest: StopRequest,
  ) {}

  /** Resolves the exit code once everything it started has ended. */
  async run(): Promise<number> {
    const data = prepareDataRoot(given(this.env.DATA_DIR) ?? join(this.project, '.data'), this.project);
    if (data.notice !== undefined) say(data.notice);
    const lock = takeLauncherLock(data.folder);
    try {
      mkdirSync(join(data.folder, 'logs'), { recursive: true, mode: 0o700 });
      await this.start(data);
      return await this.untilOver();
    } catch (error) {
      if (this.stopRequest.isMade) return 0;
      throw error;
    } finally {
      await this.stopAll();
      lock.release();
    }
  }

  private async start(data: DataRoot): Promise<void> {
    const programs = { projectFolder: this.project, dataFolder: data.folder, say };
    await stopOrphanPrograms(programs);
    const secrets = devSecrets(data.folder, this.env);
    const databaseUrl = given(this.env.DATABASE_URL) ?? (await this.startPostgres(data));
    this.stopRequest.throwIfMade();
    const redisUrl = given(this.env.REDIS_URL) ?? (await this.startRedis(data, secrets));
    this.stopRequest.throwIfMade();
    const stateFile = join(data.folder, 'demo.json');
    const simulator = this.wantsDemo()
      ? this.add('simulator', await startSimulatorProcess(programs, simulatorPort(stateFile)))
      : undefined;
    this.stopRequest.throwIfMade();
    const gateway = this.add(
      'gateway',
      await startGatewayProcess({
        ...programs,
        env: { ...this.env, ...secrets.gateway, DATABASE_URL: databaseUrl, REDIS_URL: redisUrl },
        isStopping: () => this.stopRequest.isMade,
      }),
    );
    const demo =
      simulator === undefined
        ? undefined
        : await loadDemo({
            gatewayUrl: gateway.url,
            adminToken: secrets.gateway.ADMIN_TOKEN,
            simulatorUrl: simulator.url,
            projectFolder: this.project,
            stateFile,
          });
    this.greet(gateway.url, secrets, data, demo);
  }

  private wantsDemo(): boolean {
    return given(this.env.DEMO)?.toLowerCase() !== 'off' && this.env.NODE_ENV !== 'production';
  }

  private async startPostgres(data: DataRoot): Promise<string> {
    const server = await startEmbeddedPostgres({
      folder: join(data.folder, 'postgres'),
      binaries: postgresBinaries(this.project, data.folder, data.user),
      logFile: join(data.folder, 'logs', 'postgres.log'),
      user: data.user,
      port: POSTGRES_PORT,
      isDurable: true,
    });
    this.parts.push({ name: 'Postgres', ...server });
    say(`Postgres listens on ${server.port}${server.port === POSTGRES_PORT ? '' : ` (${POSTGRES_PORT} is taken)`}`);
    return server.url;
  }

  /** The URL of a Redis of its own; `none` where there is nothing to start: Postgres decides over quota then. */
  private async startRedis(data: DataRoot, secrets: DevSecrets): Promise<string> {
    const binary = await this.findRedis(data);
    if (binary === undefined) return 'none';
    const server = await startEmbeddedRedis({
      folder: join(data.folder, 'redis'),
      binary,
      logFile: join(data.folder, 'logs', 'redis.log'),
      port: REDIS_PORT,
      password: secrets.redisPassword,
    });
    this.parts.push({ name: 'Redis', ...server });
    say(`Redis listens on ${server.port}${server.port === REDIS_PORT ? '' : ` (${REDIS_PORT} is taken)`}`);
    return server.url;
  }

  private async findRedis(data: DataRoot): Promise<RedisBinary | undefined> {
    try {
      return await findRedisBinary({
        named: given(this.env.EMBEDDED_REDIS_BINARY),
        path: this.env.PATH ?? '',
        unpackFolder: join(data.folder, 'redis-binary'),
      });
    } catch (error) {
      if (!(error instanceof NoRedisFound)) throw error;
      say(`no Redis found, so Postgres decides over quota; for Redis ${error.message}`);
      return undefined;
    }
  }

  private add(name: string, program: RunningProgram): RunningProgram {
    this.parts.push({ name, ...program });
    return program;
  }

  /** A stop that was asked for ends in 0; a part that ends by itself takes the rest with it, with its code. */
  private async untilOver(): Promise<number> {
    const ends = this.parts.map(async (part) => ({ part, exitCode: await part.process.ended }));
    const first = await Promise.race([this.stopRequest.made, ...ends]);
    if (first === undefined) return 0;
    say(`${first.part.name} ended with code ${first.exitCode}: stopping the rest`);
    // Only the gateway may leave in peace; a store that is gone is a failure whatever it says.
    return first.part.name === 'gateway' ? first.exitCode : first.exitCode || 1;
  }

  private async stopAll(): Promise<void> {
    for (const part of this.parts.reverse()) {
      if (part.process.hasEnded()) continue;
      say(`stopping ${part.name}…`);
      await part.stop().catch((error: unknown) => {
        say(messageOf(error));
      });
    }
  }

  private greet(url: string, secrets: DevSecrets, data: DataRoot, demo: Demo | undefined): void {
    const admin = given(this.env.ADMIN_TOKEN) === undefined ? `ADMIN_TOKEN in ${secrets.file}` : 'your ADMIN_TOKEN';
    const lines = [
      '',
      'Tollgate is ready.',
      `  API     ${url}/v1`,
      `  Docs    ${url}/docs`,
      `  Admin   ${url}/admin/v1 with the bearer token ${admin}`,
      `  Logs    ${join(data.folder, 'logs')}`,
      '',
    ];
    if (demo !== undefined) {
      lines.push(
        `  Demo key (a tenant with 10 USD, a simulated model)   ${demo.key}`,
        '',
        `  curl ${url}/v1/chat/completions \\`,
        `    -H 'authorization: Bearer ${demo.key}' -H 'content-type: application/json' \\`,
        `    -d '{"model":"${demo.model}","messages":[{"role":"user","content":"Hello"}]}'`,
        '',
      );
    }
    lines.push('Ctrl-C stops everything; data stays.', '');
    process.stdout.write(lines.join('\n'));
  }
}

async function main(): Promise<void> {
  const stopRequest = new StopRequest(say);
  if (existsSync('.env')) process.loadEnvFile('.env');
  // The servers do not keep this process alive by themselves.
  const stayAlive = setInterval(() => undefined, 60_000);
  try {
    process.exitCode = await new Launcher(process.env, stopRequest).run();
  } finally {
    clearInterval(stayAlive);
    stopRequest.close();
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`tollgate: ${messageOf(error)}\n`);
  process.exitCode = 1;
});
