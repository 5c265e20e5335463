import { randomUUID } from 'node:crypto';
import { Client, Pool } from 'pg';
import { DataSource } from 'typeorm';
import { MonthlyPartitions1763900100000 } from '../../../migrations/1763900100000-monthly-partitions';
import { createTestDatabase, type TestDatabase } from '../../../test/support/test-database';
import { databaseUrl, testState } from '../../../test/support/test-state';
import { runMigrations } from './migrate';
import { MIGRATIONS } from './migrations';
import {
  countStrays,
  createMonthsAhead,
  monthsAhead,
  nameOfMonth,
  parseMonth,
  partitionOf,
  readMonthPartitions,
} from './month-partitions';

const HOUSE = '00000000-0000-7000-8000-000000000001';

/** An id of that moment, as the gateway makes them. */
function idAt(iso: string): string {
  const hex = Date.parse(iso).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-7${randomUUID().slice(15)}`;
}

async function transfer(database: Client | Pool, at: string | undefined, version: number): Promise<string> {
  const { rows } = await database.query<{ id: string }>(
    `insert into ledger_transfer (kind, transaction_id, debit_account_id, credit_account_id, amount_nano_usd, debit_version,
                                  created_at)
       values ('charge', $1, $2, $3, 5, $4, coalesce($5, clock_timestamp())) returning id`,
    [randomUUID(), ACCOUNT, HOUSE, version, at ?? null],
  );
  return rows[0]?.id ?? '';
}

async function logged(database: Client | Pool, at: string): Promise<string> {
  const id = idAt(at);
  await database.query(
    `insert into request_log (id, tenant_id, channel, route, is_stream, status, duration_ms, created_at)
       values ($1, $2, 'external', '/v1/chat/completions', false, 200, 1, $3)`,
    [id, randomUUID(), at],
  );
  return id;
}

const ACCOUNT = randomUUID();

async function placesOf(database: Client | Pool, table: string): Promise<Record<string, string>> {
  const { rows } = await database.query<{ id: string; place: string }>(
    `select id, tableoid::regclass::text as place from ${table} order by id`,
  );
  return Object.fromEntries(rows.map(({ id, place }) => [id, place]));
}

describe('months', () => {
  it('are named and read in both spellings', () => {
    for (const name of ['1999-12', '2026-01', '2026-11']) {
      expect(nameOfMonth(parseMonth(name) ?? 0)).toBe(name);
      expect(parseMonth(name.replace('-', '_'))).toBe(parseMonth(name));
    }
    expect((parseMonth('2027-01') ?? 0) - (parseMonth('2026-12') ?? 0)).toBe(1);
    for (const bad of ['2026', '2026-13', '2026-00', '26-01', '2026-1', '2026-01-01', '']) {
      expect(parseMonth(bad)).toBeUndefined();
    }
  });
});

describe('the migration to monthly partitions', () => {
  let name: string;
  let url: string;

  beforeEach(async () => {
    name = `before_${randomUUID().replaceAll('-', '')}`;
    await onServer(`create database ${name}`);
    url = databaseUrl(testState().serverUrl, name);
    const before = MIGRATIONS.slice(0, MIGRATIONS.indexOf(MonthlyPartitions1763900100000));
    const dataSource = new DataSource({
      type: 'postgres',
      url,
      installExtensions: false,
      migrations: [...before],
      migrationsTransactionMode: 'each',
    });
    await dataSource.initialize();
    await dataSource.runMigrations();
    await dataSource.destroy();
  });

  afterEach(() => onServer(`drop database if exists ${name} with (force)`));

  it('keeps every row of several months, each in its month, and numbers on', async () => {
    const client = new Client(url);
    await client.connect();
    const march = await transfer(client, '2026-03-31T23:59:59.999999Z', 1);
    const april = await transfer(client, '2026-04-01T00:00:00Z', 2);
    const now = await transfer(client, undefined, 3);
    const logs = { march: await logged(client, '2026-03-31T23:59:59.999Z'), april: await logged(client, '2026-04-01') };
    const columns = 'id, kind, transaction_id, debit_account_id, amount_nano_usd, debit_version, created_at';
    const before = await client.query(`select ${columns} from ledger_transfer order by id`);

    await runMigrations(url);

    expect((await client.query(`select ${columns} from ledger_transfer order by id`)).rows).toEqual(before.rows);
    const { current, of } = await readMonthPartitions(client);
    expect(await placesOf(client, 'ledger_transfer')).toEqual({
      [march]: 'ledger_transfer_2026_03',
      [april]: 'ledger_transfer_2026_04',
      [now]: partitionOf('ledger_transfer', current),
    });
    expect(await placesOf(client, 'request_log')).toEqual({
      [logs.march]: 'request_log_2026_03',
      [logs.april]: 'request_log_2026_04',
    });
    const span = Array.from(
      { length: current + 3 - (parseMonth('2026-03') ?? 0) },
      (_, n) => (parseMonth('2026-03') ?? 0) + n,
    );
    expect(of).toEqual({ ledger_transfer: span, request_log: span, request_attempt: span });
    expect(BigInt(await transfer(client, undefined, 4))).toBe(BigInt(now) + 1n);
    await client.end();
  });

  it('gives an empty database the current month and two more', async () => {
    await runMigrations(url);
    const client = new Client(url);
    await client.connect();
    const months = await readMonthPartitions(client);
    expect(months.of.ledger_transfer).toEqual([months.current, months.current + 1, months.current + 2]);
    expect(monthsAhead(months)).toBe(2);
    expect(BigInt(await transfer(client, undefined, 1))).toBe(1n);
    await client.end();
  });
});

describe('monthly partitions', () => {
  let database: TestDatabase;
  let owner: Pool;
  let application: Pool;

  beforeEach(async () => {
    database = await createTestDatabase();
    owner = new Pool({ connectionString: database.url, max: 12 });
    application = new Pool({ connectionString: database.url, max: 4, options: '-c role=tollgate_app' });
  });

  afterEach(async () => {
    await Promise.all([owner.end(), application.end()]);
    await database.drop();
  });

  async function create(from: string, months: number): Promise<string[]> {
    const { rows } = await owner.query<{ name: string }>('select create_month_partitions($1, $2) as name', [
      from,
      months,
    ]);
    return rows.map(({ name }) => name);
  }

  it('are made once, also by two at once', async () => {
    const made = await Promise.all([create('2031-12-15', 2), create('2031-12-15', 2), create('2031-12-31', 1)]);
    const tables = ['ledger_transfer', 'request_log', 'request_attempt'];
    expect(made.flat().sort()).toEqual(tables.flatMap((table) => [`${table}_2031_12`, `${table}_2032_01`]).sort());
    expect(await create('2031-12-01', 2)).toEqual([]);
  });

  it('begin and end at midnight in UTC, whatever the session’s zone', async () => {
    await owner.query(`alter database ${new URL(database.url).pathname.slice(1)} set timezone to 'Pacific/Kiritimati'`);
    const client = new Client(database.url);
    await client.connect();
    await client.query(`select create_month_partitions('2031-05-01T00:00:00Z', 2)`);
    const last = await transfer(client, '2031-05-31T23:59:59.999999Z', 1);
    const first = await transfer(client, '2031-06-01T00:00:00Z', 2);
    const logs = {
      last: await logged(client, '2031-05-31T23:59:59.999Z'),
      first: await logged(client, '2031-06-01T00:00:00Z'),
    };
    expect(await placesOf(client, 'ledger_transfer')).toEqual({
      [last]: 'ledger_transfer_2031_05',
      [first]: 'ledger_transfer_2031_06',
    });
    expect(await placesOf(client, 'request_log')).toEqual({
      [logs.last]: 'request_log_2031_05',
      [logs.first]: 'request_log_2031_06',
    });
    await client.end();
  });

  it('take over what went to DEFAULT, once', async () => {
    const there = await transfer(owner, '2031-05-10T00:00:00Z', 1);
    const beside = await transfer(owner, '2031-07-10T00:00:00Z', 2);
    const log = await logged(owner, '2031-05-31T23:59:59.999Z');
    expect(await countStrays(owner)).toBe(3);
    await create('2031-05-20', 1);
    expect(await placesOf(owner, 'ledger_transfer')).toEqual({
      [there]: 'ledger_transfer_2031_05',
      [beside]: 'ledger_transfer_default',
    });
    expect(await placesOf(owner, 'request_log')).toEqual({ [log]: 'request_log_2031_05' });
    expect(await countStrays(application)).toBe(1);
    await expect(owner.query('delete from ledger_transfer_default')).rejects.toMatchObject({ code: '23001' });
  });

  it('refuse a change of a transfer to the owner, in the whole and in each part', async () => {
    await create('2031-05-01', 1);
    const { current } = await readMonthPartitions(owner);
    await transfer(owner, undefined, 1);
    await transfer(owner, '2031-05-05', 2);
    await transfer(owner, '2035-05-05', 3);
    const tables = [
      'ledger_transfer',
      'ledger_transfer_default',
      'ledger_transfer_2031_05',
      partitionOf('ledger_transfer', current),
    ];
    for (const table of [...tables, 'ledger_opening_balance']) {
      const set = table === 'ledger_opening_balance' ? 'posted_nano_usd = 1' : 'amount_nano_usd = 1';
      for (const change of [`update ${table} set ${set}`, `delete from ${table}`, `truncate ${table}`]) {
        await expect(owner.query(change)).rejects.toMatchObject({ code: '23001' });
      }
    }
    expect(Object.keys(await placesOf(owner, 'ledger_transfer'))).toHaveLength(3);
  });

  it('let the gateway’s role write through the whole, make months, and nothing else', async () => {
    const { rows } = await application.query<{ name: string }>(
      `select create_month_partitions('2031-05-01', 1) as name`,
    );
    expect(rows).toHaveLength(3);
    await transfer(application, '2031-05-05', 1);
    await logged(application, '2031-05-05');
    for (const [statement, code] of [
      ['select from ledger_transfer_2031_05', '42501'],
      [`insert into ledger_transfer_2031_05 select * from ledger_transfer`, '42501'],
      ['delete from ledger_transfer', '42501'],
      ['truncate ledger_transfer', '42501'],
      ['delete from ledger_transfer_2031_05', '42501'],
      ['delete from ledger_transfer_default', '42501'],
      [`insert into ledger_opening_balance values ('2026-01-01', gen_random_uuid(), 1, 1)`, '42501'],
      ['alter table ledger_transfer detach partition ledger_transfer_2031_05', '42501'],
      [`select create_month_partition('ledger_transfer', 'created_at', '2031-06-01')`, '42501'],
      [`select create_month_partitions(now(), 5000)`, '22023'],
    ] as const) {
      await expect(application.query(statement)).rejects.toMatchObject({ code });
    }
  });

  it('number the changes of an account without repeats, in each month', async () => {
    await transfer(owner, undefined, 1);
    await expect(transfer(owner, undefined, 1)).rejects.toMatchObject({ code: '23505' });
  });

  it('take over what writers bring meanwhile: none of them fails', async () => {
    const { current } = await readMonthPartitions(owner);
    const month = partitionOf('ledger_transfer', current);
    await owner.query(`alter table ledger_transfer detach partition ${month}; drop table ${month}`);
    let version = 0;
    let isDone = false;
    const write = async (): Promise<number> => {
      for (let written = 0; ; written++) {
        if (isDone) return written;
        await transfer(application, undefined, ++version);
      }
    };
    const writers = [write(), write(), write(), write()];
    const failed = Promise.all(writers).then(() => undefined);
    const untilVersion = async (least: number): Promise<void> => {
      while (version < least) await Promise.race([failed, new Promise((resolve) => setImmediate(resolve))]);
    };
    try {
      await untilVersion(40);
      expect(await createMonthsAhead(owner)).toEqual([month]);
      await untilVersion(version + 40);
    } finally {
      isDone = true;
    }
    const written = (await Promise.all(writers)).reduce((sum, n) => sum + n, 0);
    expect(Object.values(await placesOf(owner, 'ledger_transfer'))).toEqual(
      Array.from({ length: written }, () => month),
    );
  });

  it('are made ahead without a gap from the newest there is, also after the gateway was off for months', async () => {
    const { current } = await readMonthPartitions(owner);
    for (const table of ['ledger_transfer', 'request_log', 'request_attempt'] as const) {
      for (const month of [current, current + 1, current + 2])
        await owner.query(`drop table ${partitionOf(table, month)}`);
    }
    expect(monthsAhead(await readMonthPartitions(owner))).toBe(-1);
    await create(`${nameOfMonth(current - 4)}-01`, 1);
    await createMonthsAhead(application);
    const months = await readMonthPartitions(owner);
    expect(months.of.request_attempt).toEqual([-4, -3, -2, -1, 0, 1, 2].map((n) => current + n));
    expect(monthsAhead(months)).toBe(2);
    expect(await createMonthsAhead(application)).toEqual([]);
  });

  it('are found by an index in every month, and left out where a time or an id says so', async () => {
    const client = await owner.connect();
    const planOf = async (statement: string): Promise<string> => {
      const { rows } = await client.query<{ 'QUERY PLAN': string }>(`explain (costs off) ${statement}`);
      return rows.map((row) => row['QUERY PLAN']).join('\n');
    };
    await client.query('set enable_seqscan = off');
    const id = randomUUID();
    for (const statement of [
      // As the deletion of a key and of an upstream clears them.
      `update request_log set api_key_id = null where api_key_id = '${id}'`,
      `update request_attempt set upstream_id = null where upstream_id = '${id}'`,
      `select from ledger_transfer where transaction_id = '${id}'`,
      `select from ledger_transfer where debit_account_id = '${id}' and debit_version is not null`,
      `select from ledger_transfer where credit_account_id = '${id}' and credit_version is not null`,
      `select from ledger_transfer order by id desc limit 10`,
      `select from request_log where tenant_id = '${id}' order by id desc limit 10`,
    ]) {
      expect({ statement, plan: await planOf(statement) }).toEqual({
        statement,
        plan: expect.not.stringContaining('Seq Scan') as string,
      });
    }
    const { current } = await readMonthPartitions(client);
    const next = `'${nameOfMonth(current + 1)}-01T00:00:00Z'::timestamptz`;
    const recent = await planOf(`select from ledger_transfer where created_at >= ${next}`);
    expect(recent).toContain(partitionOf('ledger_transfer', current + 1));
    expect(recent).not.toContain(partitionOf('ledger_transfer', current));
    const older = await planOf(
      `select from request_attempt where request_id < uuid_floor(${next}) and request_id >= uuid_floor(now())`,
    );
    expect(older).not.toContain(partitionOf('request_attempt', current + 1));
    client.release();
  });

  it('of a month whose opening balances stand are not made anew', async () => {
    await owner.query(`insert into ledger_opening_balance values ('2031-05-01', $1, 1, 1)`, [randomUUID()]);
    expect(await create('2031-05-01', 2)).toEqual([
      'ledger_transfer_2031_06',
      'request_log_2031_06',
      'request_attempt_2031_06',
    ]);
  });
});

async function onServer(sql: string): Promise<void> {
  const client = new Client(testState().serverUrl);
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
