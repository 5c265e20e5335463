import { Logger } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { Client, DatabaseError } from 'pg';
import { QueryFailedError } from 'typeorm';
import { createTestDatabase, type TestDatabase } from '../../test/support/test-database';
import { startTcpProxy, type TcpProxy } from '../../test/support/tcp-proxy';
import { startTestRedis } from '../../test/support/test-redis';
import { eventually } from '../../test/support/eventually';
import { TEST_SECRETS, testSettings } from '../../test/support/test-settings';
import { createGateway } from '../create-gateway';
import { DatabaseOutage, meetsNoDatabase, OUTAGE_LINE } from './database-outage';

function fromPostgres(code: string): Error {
  return Object.assign(new DatabaseError('refused', 7, 'error'), { code });
}

function fromSystem(code: string): Error {
  return Object.assign(new Error(`connect ${code} 127.0.0.1:5432`), { code });
}

describe('an error of a request that needed Postgres', () => {
  it.each<[string, Error]>([
    ['a server that is not there', fromSystem('ECONNREFUSED')],
    ['a connection that was reset', fromSystem('ECONNRESET')],
    ['a server without address', fromSystem('ENOTFOUND')],
    ['a connection ended by an administrator', fromPostgres('57P01')],
    ['a server that starts', fromPostgres('57P03')],
    ['a broken protocol', fromPostgres('08P01')],
    ['no connection left on the server', fromPostgres('53300')],
    ['a lock not got in time', fromPostgres('55P03')],
    ['a statement that took too long', fromPostgres('57014')],
    ['a deadlock that stayed', fromPostgres('40P01')],
    ['no free connection of the pool', new Error('timeout exceeded when trying to connect')],
    ['a connection lost under a statement', new Error('Connection terminated unexpectedly')],
    ['an answer that did not come', new Error('Query read timeout')],
    ['any of them in TypeORM’s clothes', new QueryFailedError('select 1', [], fromPostgres('57P01'))],
    [
      'a lost connection in them',
      new QueryFailedError('select 1', [], new Error('Connection terminated unexpectedly')),
    ],
  ])('is for later: %s', (_, error) => {
    expect(meetsNoDatabase(error)).toBe(true);
  });

  it.each<[string, unknown]>([
    ['a statement that is wrong', fromPostgres('42601')],
    ['a constraint that was violated', fromPostgres('23505')],
    ['the same in TypeORM’s clothes', new QueryFailedError('select 1', [], fromPostgres('23505'))],
    ['a fault of ours', new TypeError('undefined is not a function')],
    ['no error', 'Connection terminated unexpectedly'],
  ])('is ours: %s', (_, error) => {
    expect(meetsNoDatabase(error)).toBe(false);
  });
});

describe('the log of an outage', () => {
  it('has one line for all requests that met it, and another for the next one', () => {
    const clock = { nowMs: () => 0, monotonicMs: jest.fn(() => 0), offsetMs: 0 };
    const logger = { warn: jest.fn() };
    const outage = new DatabaseOutage(clock, logger as unknown as Logger);
    for (const atMs of [0, 1_000, 29_000, 58_000]) {
      clock.monotonicMs.mockReturnValue(atMs);
      outage.met(fromSystem('ECONNREFUSED'), 'trace');
    }
    expect(logger.warn).toHaveBeenCalledTimes(1);
    clock.monotonicMs.mockReturnValue(88_001);
    outage.met(fromSystem('ECONNREFUSED'), 'trace');
    expect(logger.warn).toHaveBeenCalledTimes(2);
  });
});

describe('a gateway whose Postgres goes away', () => {
  let database: TestDatabase;
  let redis: Awaited<ReturnType<typeof startTestRedis>>;
  let wire: TcpProxy;
  let isWireCut = false;
  let app: NestFastifyApplication;
  let key: string;

  const warned = jest.spyOn(Logger.prototype, 'warn').mockImplementation();
  const failed = jest.spyOn(Logger.prototype, 'error').mockImplementation();
  const asAdmin = { authorization: `Bearer ${TEST_SECRETS.ADMIN_TOKEN}` };

  beforeAll(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
    wire = await startTcpProxy(database.url);
    app = await createGateway(
      testSettings({ databaseUrl: wire.url, redisUrl: redis.url, databaseStatementMs: 300, billingWaitMs: 300 }),
    );
    await app.getHttpAdapter().getInstance().ready();
    const tenant = await call('POST', '/admin/v1/tenants', asAdmin, { name: 'Acme' });
    const made = await call('POST', `/admin/v1/tenants/${tenant.body.id}/api-keys`, asAdmin, { name: 'ci' });
    ({ key } = made.body as { key: string });
  }, 60_000);
  afterAll(async () => {
    warned.mockRestore();
    failed.mockRestore();
    await app.close();
    await cutWire();
    await redis.stop();
    await database.drop();
  }, 60_000);

  async function cutWire(): Promise<void> {
    if (!isWireCut) await wire.close();
    isWireCut = true;
  }

  async function call(
    method: 'GET' | 'POST',
    url: string,
    headers: Record<string, string>,
    payload?: object,
  ): Promise<{ status: number; retryAfter: unknown; body: Record<string, string> }> {
    const answer = await app.inject({ method, url, headers, ...(payload ? { payload } : {}) });
    return { status: answer.statusCode, retryAfter: answer.headers['retry-after'], body: answer.json() };
  }

  function read(): Promise<Awaited<ReturnType<typeof call>>[]> {
    const asTenant = { authorization: `Bearer ${key}` };
    return Promise.all([
      call('GET', '/v1/models', asTenant),
      call('GET', '/v1/balance', asTenant),
      call('GET', '/admin/v1/tenants', asAdmin),
      call('GET', '/admin/v1/transactions', asAdmin),
    ]);
  }

  function expectLater(answers: Awaited<ReturnType<typeof read>>): void {
    expect(answers.map(({ status, retryAfter }) => [status, retryAfter])).toEqual(answers.map(() => [503, '1']));
  }

  it('answers 503 with when to come back while tables are locked, and serves again after', async () => {
    expect((await read()).map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    const locker = new Client({ connectionString: database.url });
    await locker.connect();
    try {
      await locker.query('begin; lock table tenant, ledger_account, billing_transaction, upstream');
      // Models are answered from memory.
      expectLater((await read()).slice(1));
    } finally {
      await locker.end();
    }
    expect((await read()).map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  }, 30_000);

  it('answers 503 while nobody answers or connections are refused, and logs it once', async () => {
    wire.setMode('silence');
    expectLater((await read()).slice(1));
    await cutWire();
    expectLater((await read()).slice(1));
    await eventually('memory is not trusted any more', async () => {
      const [models] = await read();
      return models?.status === 503 ? models : undefined;
    });
    expectLater(await read());
    // The locks above were the beginning of the same trouble.
    expect(warned.mock.calls.filter(([, text]) => text === OUTAGE_LINE)).toHaveLength(1);
    expect(failed.mock.calls.filter(([, text]) => text === 'a request failed inside the gateway')).toEqual([]);
  }, 60_000);
});
