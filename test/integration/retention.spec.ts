import { Client } from 'pg';
import { ReceiptReader, type ReceiptSource } from '../../src/billing/receipts/receipt-reader';
import { renderAdminReceipt } from '../../src/billing/receipts/receipt-rendering';
import { nameOfMonth, partitionOf } from '../../src/platform/database/month-partitions';
import { RetentionStage, until } from './retention-stage';

let stage: RetentionStage;

beforeEach(async () => {
  stage = await RetentionStage.open();
});
afterEach(() => stage.close());

describe('a dry run of retention', () => {
  it('says what it would do, and changes nothing', async () => {
    await stage.retain(2, { isApplied: false });
    const named = [stage.now - 4, stage.now - 3].flatMap((month) =>
      (['ledger_transfer', 'request_log', 'request_attempt'] as const).map((table) => partitionOf(table, month)),
    );
    expect(stage.lines.slice(0, -1).map((line) => line.split(':')[0])).toEqual(named);
    expect(stage.lines.at(-1)).toContain('nothing was changed');
    expect(await stage.attached()).toContain(stage.now - 4);
    expect(await stage.tablesLike('%_detached')).toEqual([]);
    expect((await stage.owner.query('select from ledger_opening_balance')).rowCount).toBe(0);
  });
});

describe('retention', () => {
  it('takes months out behind opening balances: every account has what it had, every invariant holds, and charging goes on', async () => {
    expect(await stage.violations()).toEqual([]);
    const before = await stage.balances();
    await stage.retain(2);
    expect(await stage.attached()).toEqual([stage.now - 2, stage.now - 1, stage.now, stage.now + 1, stage.now + 2]);
    expect(await stage.balances()).toEqual(before);
    expect(await stage.violations()).toEqual([]);
    await stage.retain(1);
    expect(await stage.balances()).toEqual(before);
    expect(await stage.violations()).toEqual([]);
    const { rows } = await stage.owner.query<{ month: string; total: string; accounts: string }>(
      `select to_char(month, 'YYYY-MM') as month, sum(posted_nano_usd) as total, count(*) as accounts
         from ledger_opening_balance group by 1 order by 1`,
    );
    expect(rows).toEqual([4, 3, 2].map((ago) => ({ month: nameOfMonth(stage.now - ago), total: '0', accounts: '5' })));
    await stage.charge(40);
    await stage.credit(70n);
    expect(await stage.violations()).toEqual([]);
  });

  it('keeps what it took out as it was, still not to be changed, until --drop', async () => {
    const { rows: kept } = await stage.owner.query(
      `select id from ${partitionOf('ledger_transfer', stage.now - 4)} order by id`,
    );
    await stage.retain(3);
    const archive = `${partitionOf('ledger_transfer', stage.now - 4)}_detached`;
    expect((await stage.owner.query(`select id from ${archive} order by id`)).rows).toEqual(kept);
    await expect(stage.owner.query(`delete from ${archive}`)).rejects.toMatchObject({ code: '23001' });
    await expect(stage.money.pool.query(`select from ${archive}`)).rejects.toMatchObject({ code: '42501' });
    await stage.retain(2, { drops: true });
    expect(await stage.tablesLike('%_detached')).toEqual([]);
    expect(await stage.violations()).toEqual([]);
  });

  it('finds nothing to do the second time', async () => {
    await stage.retain(2);
    const before = await stage.owner.query('select * from ledger_opening_balance order by month, account_id');
    stage.lines = [];
    await stage.retain(2);
    expect(stage.lines[0]).toBe(`no month before ${nameOfMonth(stage.now - 2)} is there`);
    expect((await stage.owner.query('select * from ledger_opening_balance order by month, account_id')).rows).toEqual(
      before.rows,
    );
  });

  it('leaves a refund of a charge whose month is out a conflict, and books nothing', async () => {
    await stage.retain(1);
    const [old, , , , recent] = stage.charges;
    const before = await stage.balances();
    await expect(stage.money.ledger.refund(stage.refundOf(old ?? ''))).rejects.toMatchObject({
      refusal: { code: 'CONFLICT' },
    });
    expect(await stage.balances()).toEqual(before);
    await stage.money.ledger.refund(stage.refundOf(recent ?? ''));
    expect(await stage.violations()).toEqual([]);
  });

  it('leaves the receipt of such a charge, without what only its transfers said', async () => {
    const receipts = new ReceiptReader(stage.owner);
    const traceOf = async (id: string | undefined): Promise<string> => {
      const { rows } = await stage.owner.query<{ trace_id: string }>(
        'select trace_id from billing_transaction where id = $1',
        [id],
      );
      return rows[0]?.trace_id ?? '';
    };
    await stage.retain(1);
    const [old, recent] = [stage.charges[0], stage.charges.at(-1)];
    expect(renderAdminReceipt(await sourceOf(receipts, await traceOf(old)))).toMatchObject({
      cost_usd: '0.000000250',
      funding: [],
      house_cost_usd: null,
      margin_usd: null,
    });
    expect(renderAdminReceipt(await sourceOf(receipts, await traceOf(recent)))).toMatchObject({
      cost_usd: '0.000000250',
      funding: [{ amount_usd: '0.000000150' }, { amount_usd: '0.000000100' }],
      house_cost_usd: '0.000000000',
      margin_usd: expect.any(String) as string,
    });
  });

  it('leaves invariants that see a wrong opening balance', async () => {
    await stage.retain(2);
    const client = await stage.owner.connect();
    await client.query(`set session_replication_role = replica`);
    for (const [wrong, right] of [
      ['posted_nano_usd = posted_nano_usd + 1', 'posted_nano_usd = posted_nano_usd - 1'],
      ['version = version + 1', 'version = version - 1'],
    ]) {
      const of = `where month = (select max(month) from ledger_opening_balance)
                    and account_id = (select id from ledger_account where name = 'wallet')`;
      await client.query(`update ledger_opening_balance set ${wrong ?? ''} ${of}`);
      expect((await stage.violations())[0]).toBe('I1 violated');
      await client.query(`update ledger_opening_balance set ${right ?? ''} ${of}`);
    }
    await client.query(`reset session_replication_role`);
    client.release();
    expect(await stage.violations()).toEqual([]);
  });
});

describe('retention that is killed', () => {
  it('at any step leaves months whole, in or out, and the next run goes on', async () => {
    const before = await stage.balances();
    let kills = 0;
    for (let step = 1; ; step++) {
      let said = 0;
      let killed: Promise<unknown> | undefined;
      const run = stage.retain(1, {
        say: () => {
          said += 1;
          if (said === step) {
            killed = stage.owner.query(
              `select pg_terminate_backend(pid) from pg_stat_activity
                where application_name = 'tollgate-retention' and datname = current_database()`,
            );
          }
        },
      });
      const failed = await run.then(
        () => false,
        () => true,
      );
      await killed;
      expect(await stage.balances()).toEqual(before);
      expect(await stage.violations()).toEqual([]);
      if (failed) kills += 1;
      if (!(await stage.attached()).includes(stage.now - 2) && !failed) break;
      if (step > 40) throw new Error('it never ends');
    }
    expect(kills).toBeGreaterThan(3);
    expect(await stage.attached()).toEqual([stage.now - 1, stage.now, stage.now + 1, stage.now + 2]);
    expect(await stage.tablesLike('request_log%_detached')).toHaveLength(3);
  });
});

describe('retention beside readers and writers', () => {
  it('waits for a long reader without keeping writers waiting, and goes on when it is done', async () => {
    const reader = new Client(stage.database.url);
    await reader.connect();
    await reader.query('begin');
    await reader.query('select from ledger_transfer');
    const run = stage.retain(2);
    const tookMs: number[] = [];
    await until(
      () => stage.lines.some((line) => line.includes('in use, tried 10 times')),
      async () => {
        const startMs = performance.now();
        await stage.charge(1);
        tookMs.push(performance.now() - startMs);
      },
    );
    expect(tookMs.length).toBeGreaterThan(10);
    expect(Math.max(...tookMs)).toBeLessThan(2_000);
    await reader.query('rollback');
    await reader.end();
    await run;
    expect(await stage.attached()).toEqual([stage.now - 2, stage.now - 1, stage.now, stage.now + 1, stage.now + 2]);
    expect(await stage.violations()).toEqual([]);
  });
});

async function sourceOf(receipts: ReceiptReader, traceId: string): Promise<ReceiptSource> {
  const source = await receipts.of(traceId);
  if (!source) throw new Error('there is no receipt');
  return source;
}
