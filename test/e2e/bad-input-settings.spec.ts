import { readFileSync } from 'node:fs';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { launchGateway } from '../support/test-gateway';
import { startTestRedis, type TestRedis } from '../support/test-redis';

/** What a boot may take until it says that it cannot. */
const SAYS_NO_WITHIN_MS = 10_000;
/** In every bad value, so that it can be looked for in what the gateway writes. */
const CANARY = 'canary';

/** Each value is wrong by itself. A boot tries one of each variable: all that is wrong is said at once. */
const BAD: Readonly<Record<string, readonly string[]>> = {
  PORT: ['canary', '70000', '-1', '80.5'],
  METRICS_PORT: ['0x50canary', '65536'],
  DATABASE_URL: [
    'canary',
    'mysql://root:canary@127.0.0.1/x',
    'postgres://root:canary@127.0.0.1:notaport/x',
    'postgres//canary',
  ],
  DATABASE_POOL_SIZE: ['many canary', '1', '1e9'],
  DATABASE_STATEMENT_MS: ['5', 'canary'],
  REDIS_URL: ['canary', 'http://canary', 'redis://:canary@127.0.0.1:notaport'],
  ADMIN_TOKEN: ['canary', 'c'.repeat(513)],
  KEY_PEPPER: ['short canary', 'canary'],
  ENCRYPTION_KEY: ['canary', 'zz'.repeat(32), '5e'.repeat(31), '5e'.repeat(33)],
  LOG_LEVEL: ['canary', 'INFO'],
  NODE_ENV: ['canary', 'prod'],
  DEFAULT_TIMEZONE: ['Canary/Nowhere', 'canary'],
  UPSTREAM_ALLOW_PRIVATE: ['canary', '2'],
  DISCONNECT_POLICY: ['canary', 'Drain'],
  DISCONNECT_DRAIN_MS: ['canary', '-1'],
  BROKEN_STREAM_POLICY: ['canary', 'charge'],
  UPSTREAM_FIRST_BYTE_MS: ['canary', '0'],
  UPSTREAM_IDLE_MS: ['0.5', 'canary'],
  UPSTREAM_TOTAL_MS: ['canary', '-1'],
  PROCESS_BEAT_MS: ['1', 'canary'],
  PROCESS_DEAD_MS: ['canary', '5'],
  BILLING_WAIT_MS: ['0', 'canary'],
  DRAIN_GRACE_MS: ['canary', '-1'],
  DRAIN_DEADLINE_MS: ['-5', 'canary'],
  DOCS_ENABLED: ['canary', 'yes'],
  TEST_CLOCK_OFFSET_MS: ['canary', '1.5'],
};
const ROUNDS = [0, 1, 2, 3];

describe('a gateway with a bad setting', () => {
  let database: TestDatabase;
  let redis: TestRedis;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
  }, 60_000);

  afterAll(async () => {
    await redis.stop();
    await database.drop();
  });

  async function boot(
    env: Readonly<Record<string, string>>,
  ): Promise<{ code: number; output: string; tookMs: number }> {
    const startedMs = performance.now();
    const { server, logFile } = await launchGateway({ databaseUrl: database.url, redisUrl: redis.url, env });
    const late = setTimeout(() => void server.kill9(), 2 * SAYS_NO_WITHIN_MS);
    const code = await server.ended;
    clearTimeout(late);
    return { code, output: readFileSync(logFile, 'utf8'), tookMs: performance.now() - startedMs };
  }

  it.each(ROUNDS)(
    'does not start, names each variable that is wrong and never a value (round %i)',
    async (round) => {
      const env = Object.fromEntries(
        Object.entries(BAD).flatMap(([variable, values]) => {
          const value = values[round];
          return value === undefined ? [] : [[variable, value]];
        }),
      );
      const { code, output, tookMs } = await boot(env);
      expect(code).toBe(1);
      expect(namedIn(output)).toEqual(Object.keys(env).sort());
      expect(output.toLowerCase()).not.toContain(CANARY);
      for (const value of Object.values(env).filter(({ length }) => length > 4)) expect(output).not.toContain(value);
      // Words for an operator, not a stack.
      expect(output).not.toMatch(/^\s+at .*:\d+:\d+/m);
      expect(tookMs).toBeLessThan(SAYS_NO_WITHIN_MS);
    },
    30_000,
  );

  it('names a single one that is wrong', async () => {
    const { code, output } = await boot({ PORT: '0', KEY_PEPPER: 'short' });
    expect(code).toBe(1);
    expect(namedIn(output)).toEqual(['KEY_PEPPER']);
  }, 30_000);

  it('does not start where two settings contradict each other, and names both', async () => {
    const { code, output } = await boot({ PORT: '0', PROCESS_BEAT_MS: '5000', PROCESS_DEAD_MS: '6000' });
    expect(code).toBe(1);
    expect(output).toContain('PROCESS_DEAD_MS must be at least four times PROCESS_BEAT_MS');
  }, 30_000);
});

/** Every problem is a line that begins with its variable. */
function namedIn(output: string): string[] {
  return [...output.matchAll(/^ {2}- ([A-Z_]+) /gm)].map(([, variable]) => variable ?? '').sort();
}
