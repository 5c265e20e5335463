import { Client } from 'pg';
import { createTestDatabase, type TestDatabase } from '../../test/support/test-database';
import { newId } from '../kernel/ids';
import { calendarWindow } from '../kernel/windows';
import { countRequests } from './counted-requests';

const CALLS = 45_000;
const MOST_READ = 20_000;

describe('requests as the ledger knows them', () => {
  let database: TestDatabase;
  let client: Client;

  beforeAll(async () => {
    database = await createTestDatabase();
    client = new Client({ connectionString: database.url });
    await client.connect();
  });

  afterAll(async () => {
    await client.end();
    await database.drop();
  });

  it('are counted exactly, however many there are, and no statement reads them all', async () => {
    const tenantId = newId();
    const nowMs = Date.now();
    const [day, month] = [calendarWindow(nowMs, 'UTC', 'day'), calendarWindow(nowMs, 'UTC', 'month')];
    // Of a hundred one was voided, of ten one is of the day before, of a thousand one of the month before.
    await client.query(
      `insert into billing_transaction
         (id, tenant_id, trace_id, type, status, channel, day_window_start, month_window_start, ended_at)
       select i, $1, i, 'charge', case n % 100 when 0 then 'VOIDED' else 'COMMITTED' end, 'external',
              to_timestamp($2::bigint / 1000.0) - case n % 10 when 1 then interval '1 day' else '0' end,
              to_timestamp($3::bigint / 1000.0) - case n % 1000 when 1 then interval '31 days' else '0' end, now()
         from (select n, (lpad(to_hex($5::bigint + n / 30), 12, '0') || '7' || left(md5(n::text), 3) || '8'
                || right(md5(n::text), 15))::uuid as i
                 from generate_series(1, $4::int) n) r`,
      [tenantId, day.startMs, month.startMs, CALLS, nowMs],
    );
    const read: number[] = [];
    const watched = {
      query: async (text: string, values: unknown[]) => {
        const result = await client.query<{ read: string }>(text, values);
        read.push(...result.rows.map((page) => Number(page.read)));
        return result;
      },
    };
    const counted = await countRequests(watched as never, tenantId, day, month);
    expect(counted).toEqual({
      today: CALLS - CALLS / 100 - CALLS / 10,
      thisMonth: CALLS - CALLS / 100 - CALLS / 1_000,
    });
    expect(read.reduce((sum, page) => sum + page, 0)).toBe(CALLS);
    expect(Math.max(...read)).toBeLessThanOrEqual(MOST_READ);
  });

  it('are none where there are none', async () => {
    const nowMs = Date.now();
    const [day, month] = [calendarWindow(nowMs, 'UTC', 'day'), calendarWindow(nowMs, 'UTC', 'month')];
    expect(await countRequests(client as never, newId(), day, month)).toEqual({ today: 0, thisMonth: 0 });
  });
});
