import { Pool } from 'pg';
import { createTestDatabase, type TestDatabase } from '../../../test/support/test-database';
import { newId } from '../../kernel/ids';
import { countOpenHolds, readCounters } from './counter-reader';

describe('the counters of a tenant as Postgres knows them', () => {
  let database: TestDatabase;
  let pool: Pool;
  let tenantId: string;

  beforeAll(async () => {
    database = await createTestDatabase();
    pool = new Pool({ connectionString: database.url, max: 2 });
  });
  beforeEach(() => {
    tenantId = newId();
  });
  afterAll(async () => {
    await pool.end();
    await database.drop();
  });

  const committed = (counter: string, startMs: number, endMs: number, used: bigint, of = tenantId): Promise<unknown> =>
    pool.query('insert into quota_counter values ($1, $2, $3, $4, $5)', [of, counter, startMs, endMs, used]);

  const charge = (scopes: unknown, fields: { hold?: bigint; status?: string; of?: string } = {}): Promise<unknown> =>
    pool.query(
      `insert into billing_transaction (id, tenant_id, trace_id, type, status, channel, hold_nano_usd, scopes, ended_at)
         values ($1, $2, $3, 'charge', $4, 'external', $5, $6, case when $4 = 'PENDING' then null else now() end)`,
      [
        newId(),
        fields.of ?? tenantId,
        newId(),
        fields.status ?? 'PENDING',
        fields.hold ?? 7n,
        scopes === null ? null : JSON.stringify(scopes),
      ],
    );

  it('are what was committed and what open charges hold: requests count one, amounts the whole hold', async () => {
    await committed('key:a:budget', 0, 0, 5n);
    await committed('key:a:5h', 100, 200, 9_000_000_000_000_000n);
    await charge(
      [
        ['key:a:budget', 'u', 0, 0],
        ['key:a:5h', 'u', 100, 200],
        ['free:chat', 'r', 50, 900],
      ],
      { hold: 30n },
    );
    await charge([['free:chat', 'r', 50, 900]]);
    expect(await readCounters(pool, tenantId, ['key:a:budget', 'key:a:5h', 'free:chat', 'never'])).toEqual(
      new Map([
        ['key:a:budget', { startMs: 0, endMs: 0, used: 35n }],
        ['key:a:5h', { startMs: 100, endMs: 200, used: 9_000_000_000_000_030n }],
        ['free:chat', { startMs: 50, endMs: 900, used: 2n }],
      ]),
    );
  });

  it('are those of the newest window, whether a committed or an open charge has it', async () => {
    await committed('key:a:5h', 100, 200, 5n);
    await committed('key:a:1d', 300, 400, 5n);
    await charge([
      ['key:a:5h', 'u', 300, 400],
      ['key:a:1d', 'u', 100, 200],
    ]);
    expect(await readCounters(pool, tenantId, ['key:a:5h', 'key:a:1d'])).toEqual(
      new Map([
        ['key:a:5h', { startMs: 300, endMs: 400, used: 7n }],
        ['key:a:1d', { startMs: 300, endMs: 400, used: 5n }],
      ]),
    );
  });

  it('leave out what has ended, what was not asked for, charges without scopes, and every other tenant', async () => {
    const other = newId();
    await committed('free:chat', 1, 9, 4n);
    await committed('free:chat', 1, 9, 40n, other);
    await charge([['free:chat', 'r', 1, 9]], { of: other });
    await charge([['free:chat', 'r', 1, 9]], { status: 'COMMITTED' });
    await charge([['free:chat', 'r', 1, 9]], { status: 'VOIDED' });
    await charge([['unasked', 'r', 1, 9]]);
    await charge(null);
    expect(await readCounters(pool, tenantId, ['free:chat'])).toEqual(
      new Map([['free:chat', { startMs: 1, endMs: 9, used: 4n }]]),
    );
    expect(await readCounters(pool, tenantId, [])).toEqual(new Map());
  });

  it('say how many holds are open, with scopes or without', async () => {
    await charge(null);
    await charge([['free:chat', 'r', 1, 9]]);
    await charge(null, { status: 'COMMITTED' });
    await charge(null, { of: newId() });
    expect(await countOpenHolds(pool, tenantId)).toBe(2n);
  });
});
