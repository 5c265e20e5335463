import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { eventually } from '../../test/support/eventually';
import { createTestDatabase, type TestDatabase } from '../../test/support/test-database';
import { startTestRedis, type TestRedis } from '../../test/support/test-redis';
import { testSettings } from '../../test/support/test-settings';
import { SettingsModule } from '../platform/config/settings.module';
import { DatabaseModule } from '../platform/database/database.module';
import { Drain } from '../platform/http/drain';
import { HttpModule } from '../platform/http/http.module';
import { MetricsModule } from '../platform/metrics/metrics.module';
import { EpochAuthority } from '../quota/epoch-authority';
import { RedisConnection, ServerRefused } from '../platform/redis/redis-connection';
import { HealthModule } from './health.module';

interface Report {
  readonly status: number;
  readonly body: { readonly status: string; readonly details?: Record<string, { readonly status: string }> };
}

let database: TestDatabase;
let redis: TestRedis;
let app: NestFastifyApplication;

async function startApp(redisUrl = redis.url): Promise<NestFastifyApplication> {
  const settings = testSettings({ databaseUrl: database.url, redisUrl });
  const module = await Test.createTestingModule({
    imports: [SettingsModule.register(settings), MetricsModule, DatabaseModule, HttpModule, HealthModule],
  }).compile();
  const application = module.createNestApplication<NestFastifyApplication>(new FastifyAdapter());
  await application.init();
  return application;
}

async function ask(path: string): Promise<Report> {
  const response = await app.inject({ method: 'GET', url: path });
  return { status: response.statusCode, body: response.json() };
}

const statesOf = ({ body }: Report): Record<string, string> =>
  Object.fromEntries(Object.entries(body.details ?? {}).map(([name, { status }]) => [name, status]));

beforeEach(async () => {
  [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
  app = await startApp();
});
afterEach(async () => {
  await app.close();
  await redis.stop();
  await database.drop();
});

describe('health', () => {
  it('shows everything the gateway leans on, and who decides over quota', async () => {
    const report = await ask('/health');
    expect(report.status).toBe(200);
    expect(statesOf(report)).toEqual({ service: 'up', database: 'up', redis: 'up', lua_scripts: 'up' });
    expect(report.body).toMatchObject({
      status: 'ok',
      mode: 'redis',
    });
    expect(report.body.details?.lua_scripts).toHaveProperty('scripts');
    expect((await ask('/health/ready')).status).toBe(200);
    expect(await ask('/health/live')).toEqual({ status: 200, body: { status: 'ok' } });
  });

  it('stays ready without Redis, and says that it is gone and who decides over quota then', async () => {
    await redis.kill9();
    await app.get(EpochAuthority).switchToPostgres('test');
    const report = await ask('/health');
    expect(report.status).toBe(503);
    expect(report.body).toMatchObject({ mode: 'postgres' });
    expect(statesOf(report)).toMatchObject({ database: 'up', redis: 'down' });
    expect((await ask('/health/ready')).status).toBe(200);
  });

  it('leans on nothing but Postgres where there is to be no Redis', async () => {
    await app.close();
    app = await startApp('none');
    const report = await ask('/health');
    expect(report.status).toBe(200);
    expect(report.body).toMatchObject({ status: 'ok', mode: 'postgres' });
    expect(statesOf(report)).toEqual({ service: 'up', database: 'up' });
  });

  it('says why a Redis that answers is not used', async () => {
    const connection = app.get(RedisConnection);
    await connection.client.config('SET', 'maxmemory-policy', 'allkeys-lru');
    const { server } = connection;
    if (!server) throw new Error('not ready');
    connection.distrust(server, new ServerRefused('checked again', redis.url));
    await eventually('the policy is seen', () =>
      connection.whyNotReady?.includes('allkeys-lru') === true ? true : undefined,
    );
    const report = await ask('/health');
    expect(statesOf(report)).toMatchObject({ redis: 'down' });
    expect(JSON.stringify(report.body.details?.redis)).toContain('CONFIG SET maxmemory-policy noeviction');
    expect(JSON.stringify(report.body)).not.toContain(String(redis.port));
  });

  it('is alive but not ready without Postgres, and tells strangers nothing of why', async () => {
    await database.drop();
    const report = await ask('/health/ready');
    expect(report.status).toBe(503);
    expect(statesOf(report)).toEqual({ service: 'up', database: 'down' });
    expect(JSON.stringify(report.body)).not.toMatch(/test_|postgres|terminat|exist/);
    expect((await ask('/health/live')).status).toBe(200);
  });

  it('is not ready from the first moment of its way out', async () => {
    const drained = app.get(Drain).run({ graceMs: 60_000, deadlineMs: 0, settleMs: 0 });
    const report = await ask('/health/ready');
    expect(report.status).toBe(503);
    expect(statesOf(report)).toEqual({ service: 'down', database: 'up' });
    expect((await ask('/health/live')).status).toBe(200);
    expect(drained).toBeInstanceOf(Promise);
  });
});
