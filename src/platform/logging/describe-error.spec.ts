import { PinoLogger } from 'nestjs-pino';
import { Client, DatabaseError } from 'pg';
import { DataSource } from 'typeorm';
import { createTestDatabase, type TestDatabase } from '../../../test/support/test-database';
import { Settings } from '../config/settings';
import { loggerOptions } from './logger-options';

const lines: string[] = [];
/** The gateway's own logger; there is one in a process, whoever asks for it later. */
const logger = loggerOf(new Settings());

function loggerOf(settings: Settings): PinoLogger {
  const { pinoHttp } = loggerOptions(settings);
  if (pinoHttp === undefined || Array.isArray(pinoHttp) || 'write' in pinoHttp) throw new Error('options expected');
  return new PinoLogger({ pinoHttp: [pinoHttp, { write: (line: string) => void lines.push(line) }] });
}

/** The line it writes of an error. */
function written(error: unknown): string {
  lines.length = 0;
  logger.error({ err: error, traceId: 't-1' }, 'a request failed');
  return lines.join('');
}

function errOf(error: unknown): Record<string, unknown> {
  return (JSON.parse(written(error)) as { err: Record<string, unknown> }).err;
}

async function rejectionOf(work: Promise<unknown>): Promise<Error> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof Error)) throw new Error('a rejection was expected');
  return error;
}

describe('a logged error of the database', () => {
  let database: TestDatabase;
  let source: DataSource;

  beforeAll(async () => {
    database = await createTestDatabase();
    source = await new DataSource({ type: 'postgres', url: database.url }).initialize();
    await source.query(`create table secret (name text primary key, number int check (number > 0))`);
    await source.query(`insert into secret values ('CANARY', 1)`);
  });
  afterAll(async () => {
    await source.destroy();
    await database.drop();
  });

  it.each<[string, string, string]>([
    ['a violated constraint, whose detail shows the row', '23514', `insert into secret values ('CANARY-' || $1, -1)`],
    ['a key that is there already', '23505', `insert into secret values (substr($1, 1, 6), 2)`],
    [
      'a value that cannot be read, which the message quotes',
      '22P02',
      `insert into secret values ('x', $1::text::int)`,
    ],
    ['a statement that is wrong', '42P01', `select $1 from nowhere`],
  ])('tells what happened, and shows no value: %s', async (_, code, statement) => {
    const error = await rejectionOf(source.query(statement, ['CANARY']));
    expect(JSON.stringify(error)).toContain('CANARY');
    const line = written(error);
    expect(line).not.toContain('CANARY');
    expect(errOf(error)).toMatchObject({ type: 'QueryFailedError', code });
    expect(Object.keys(errOf(error)).sort()).toEqual(['code', 'message', 'stack', 'type']);
  });

  it('shows no value where the driver’s own error is logged either', async () => {
    const client = new Client({ connectionString: database.url });
    await client.connect();
    const error = await rejectionOf(client.query(`insert into secret values ($1, 2)`, ['CANARY']));
    await client.end();
    expect(error).toBeInstanceOf(DatabaseError);
    expect(written(new Error('wrapped', { cause: error }))).not.toContain('CANARY');
    expect(errOf(new Error('wrapped', { cause: error }))).toMatchObject({
      message: 'wrapped',
      cause: { code: '23505', message: 'duplicate key value violates unique constraint "secret_pkey"' },
    });
  });
});

describe('any logged error', () => {
  it('keeps its type, message, stack, code, and those of its causes', () => {
    const cause = Object.assign(new TypeError('the cause'), { code: 'ECONNRESET', parameters: ['CANARY'] });
    const error = Object.assign(new RangeError('what failed', { cause }), { query: 'CANARY' });
    expect(errOf(error)).toEqual({
      type: 'RangeError',
      message: 'what failed',
      stack: error.stack,
      cause: { type: 'TypeError', message: 'the cause', code: 'ECONNRESET', stack: cause.stack },
    });
  });

  it('ends where causes are a circle', () => {
    const error = new Error('round');
    error.cause = error;
    expect(errOf(error)).toMatchObject({ message: 'round' });
  });
});
