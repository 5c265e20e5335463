import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { RetentionRefused } from '../../src/billing/retention/retention';
import { nameOfMonth, partitionOf, startOfMonth } from '../../src/platform/database/month-partitions';
import { ensureBuilt } from '../support/ensure-built';
import { openCharge } from '../support/money-harness';
import { RetentionStage, until } from './retention-stage';

let stage: RetentionStage;

beforeEach(async () => {
  stage = await RetentionStage.open();
});
afterEach(() => stage.close());

describe('retention refuses', () => {
  async function expectRefusal(
    reason: string | RegExp,
    run: () => Promise<void> = () => stage.retain(2),
  ): Promise<void> {
    const before = await stage.attached();
    await expect(run()).rejects.toThrow(RetentionRefused);
    await expect(run()).rejects.toThrow(reason);
    expect(await stage.attached()).toEqual(before);
    expect((await stage.owner.query('select from ledger_opening_balance')).rowCount).toBe(0);
  }

  it('a month that is not over', () => expectRefusal(`${nameOfMonth(stage.now)} is not over`, () => stage.retain(-1)));

  it('months with an open charge', async () => {
    const open = await openCharge(stage.money, stage.tenant, 5n);
    await open.durable();
    await stage.owner.query(`update billing_transaction set created_at = $2 where id = $1`, [
      open.held.holdId,
      startOfMonth(stage.now - 3),
    ]);
    await expectRefusal(/1 charges of those months are open \(PENDING\)/);
    await open.void({ reasonCode: 'TEST', endReason: 'test' });
    await stage.retain(2);
  });

  it('while transfers lie in DEFAULT', async () => {
    await stage.owner.query(
      `insert into ledger_transfer (kind, transaction_id, debit_account_id, credit_account_id, amount_nano_usd, created_at)
         values ('recharge', $1, $2, $3, 1, '2019-01-01')`,
      [randomUUID(), randomUUID(), randomUUID()],
    );
    await expectRefusal('ledger_transfer_default has rows');
  });

  it('a gap between the months', async () => {
    const name = partitionOf('ledger_transfer', stage.now - 3);
    await stage.owner.query(
      `alter table ledger_transfer detach partition ${name}; alter table ${name} rename to elsewhere`,
    );
    await expectRefusal(`ledger_transfer has no partition of ${nameOfMonth(stage.now - 3)}`);
  });

  it('a ledger whose invariants are violated: once the month is out nobody could find out why', async () => {
    await stage.owner.query(`update ledger_account set posted_nano_usd = posted_nano_usd + 1 where name = 'wallet'`);
    await expectRefusal('I1 is violated');
  });

  it('a second run beside the first', async () => {
    const reader = await stage.owner.connect();
    await reader.query('begin');
    await reader.query('select from ledger_transfer');
    let second: Promise<void> | undefined;
    const first = stage.retain(3, {
      say: (line) => {
        if (line.includes('adding up')) second = stage.retain(3);
      },
    });
    await until(() => second !== undefined);
    await expect(second).rejects.toThrow('another retention run is at work');
    await reader.query('rollback');
    reader.release();
    await first;
    expect(await stage.attached()).not.toContain(stage.now - 4);
  });
});

describe('the retention command', () => {
  beforeAll(ensureBuilt, 120_000);

  async function command(...args: string[]): Promise<{ status: number | null; out: string; err: string }> {
    const program = join(await ensureBuilt(), 'src', 'retention.js');
    const env = { PATH: process.env.PATH, DATABASE_URL: stage.database.url };
    return new Promise((resolve) => {
      execFile(process.execPath, [program, ...args], { env }, (error, out, err) => {
        resolve({ status: error === null ? 0 : Number(error.code), out, err });
      });
    });
  }

  it('does nothing without a month, or with what it does not know', async () => {
    for (const args of [[], ['--before', '2026-13'], ['--before', 'now', '--apply']]) {
      expect(await command(...args)).toMatchObject({
        status: 1,
        out: '',
        err: expect.stringContaining('usage:') as string,
      });
    }
    expect(await command('--before', nameOfMonth(stage.now), '--aply')).toMatchObject({ status: 1, out: '' });
    expect(await stage.attached()).toContain(stage.now - 4);
  });

  it('is a dry run without --apply, and says why it refuses', async () => {
    const before = nameOfMonth(stage.now - 3);
    const dry = await command('--before', before);
    expect(dry).toMatchObject({ status: 0, err: '', out: expect.stringContaining('nothing was changed') as string });
    expect(await stage.attached()).toContain(stage.now - 4);
    expect(await command('--before', before, '--apply')).toMatchObject({ status: 0, err: '' });
    expect(await stage.attached()).not.toContain(stage.now - 4);
    const refused = await command('--before', nameOfMonth(stage.now + 1), '--apply');
    expect(refused).toMatchObject({ status: 1, err: expect.stringContaining('is not over') as string });
  });
});
