import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { createTestDatabase, type TestDatabase } from '../test/support/test-database';
import { launchGateway, startGateway, type GatewayOptions } from '../test/support/test-gateway';
import { startTestRedis, type TestRedis } from '../test/support/test-redis';

let database: TestDatabase;
let redis: TestRedis;

beforeAll(async () => {
  [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
}, 120_000);
afterAll(async () => {
  await redis.stop();
  await database.drop();
});

const options = (env: GatewayOptions['env'] = {}): GatewayOptions => ({
  databaseUrl: database.url,
  redisUrl: redis.url,
  env,
});

/** Starts a gateway that is meant not to start. */
async function failedBoot(env: GatewayOptions['env']): Promise<{ exitCode: number | null; output: string }> {
  const { server, logFile } = await launchGateway(options(env));
  const exitCode = await server.ended;
  return { exitCode, output: readFileSync(logFile, 'utf8') };
}

describe('the process', () => {
  it('says where it listens, answers, and ends with 0 on SIGTERM', async () => {
    const gateway = await startGateway(options({ LOG_LEVEL: 'info' }));
    expect(gateway.logs()).toContain(`listening on http://127.0.0.1:${gateway.port}`);
    expect((await fetch(`${gateway.url}/health/live`)).status).toBe(200);
    await gateway.stop();
    expect(await gateway.ended).toBe(0);
    expect(gateway.logs()).toContain('drained and closed');
  }, 120_000);

  it('is not ready from the signal on but answers during the grace, and ends at once on a second signal', async () => {
    const gateway = await startGateway(options({ DRAIN_GRACE_MS: '600000' }));
    process.kill(gateway.pid, 'SIGTERM');
    let ready = 200;
    while (ready === 200) ready = (await fetch(`${gateway.url}/health/ready`)).status;
    expect(ready).toBe(503);
    const answer = await fetch(`${gateway.url}/v1/models`);
    expect([answer.status, answer.headers.get('connection')]).toEqual([401, 'close']);
    process.kill(gateway.pid, 'SIGTERM');
    expect(await gateway.ended).toBe(1);
  }, 120_000);

  it('logs the control plane by path and status, the data plane not at all, and secrets never', async () => {
    const gateway = await startGateway(options({ LOG_LEVEL: 'info' }));
    const headers = { authorization: `Bearer ${gateway.adminToken}`, 'x-api-key': 'canary', cookie: 'canary' };
    await fetch(`${gateway.url}/admin/v1/tenants?api_key=canary`, { headers });
    await fetch(`${gateway.url}/v1/models?api_key=canary`, { headers });
    await fetch(`${gateway.url}/v1/nothing`, { method: 'POST', body: '{"messages":"canary"}', headers });
    await gateway.stop();
    const lines = gateway
      .logs()
      .split('\n')
      .filter((line) => line.includes('"req"'));
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      req: { method: 'GET', path: '/admin/v1/tenants' },
      // The control plane knows no such parameter.
      res: { statusCode: 400 },
    });
    expect(gateway.logs()).not.toMatch(new RegExp(`canary|${gateway.adminToken}`));
  }, 120_000);

  it('names every wrong setting, none of their values, and ends with 1', async () => {
    const { exitCode, output } = await failedBoot({ PORT: 'canary', KEY_PEPPER: 'canary', ENCRYPTION_KEY: 'canary' });
    expect(exitCode).toBe(1);
    for (const name of ['PORT', 'KEY_PEPPER', 'ENCRYPTION_KEY']) expect(output).toContain(`- ${name} must`);
    expect(output).not.toContain('canary');
    expect(output).not.toMatch(/^\s+at /m);
  }, 120_000);

  it('says that its port is taken, in one line, and ends with 1', async () => {
    const squatter = createServer().listen(0, '127.0.0.1');
    await once(squatter, 'listening');
    const { port } = squatter.address() as AddressInfo;
    const { exitCode, output } = await failedBoot({ PORT: String(port), LOG_LEVEL: 'error' });
    squatter.close();
    expect(exitCode).toBe(1);
    expect(output.trim()).toBe(
      `Tollgate cannot start: PORT: port ${port} on 127.0.0.1 is taken by another process; choose a free one`,
    );
  }, 120_000);

  it('refuses a Postgres that may lose committed money', async () => {
    const { exitCode, output } = await failedBoot({ NODE_ENV: 'development', PORT: '0', LOG_LEVEL: 'error' });
    expect(exitCode).toBe(1);
    expect(output.trim()).toMatch(/^Tollgate cannot start: DATABASE_URL: this Postgres runs with .*fsync = off.*$/);
  }, 120_000);

  it('does not print the password of a database it cannot reach', async () => {
    const url = new URL(database.url);
    url.password = 'canary';
    const { exitCode, output } = await failedBoot({ DATABASE_URL: url.href, PORT: '0', LOG_LEVEL: 'error' });
    expect(exitCode).toBe(1);
    expect(output).toContain('DATABASE_URL: cannot connect to Postgres');
    expect(output).not.toContain('canary');
  }, 120_000);
});
