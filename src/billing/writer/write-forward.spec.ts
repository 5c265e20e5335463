import { ChargeWriterHarness, settledAt } from '../../../test/support/charge-writer-harness';
import { eventually } from '../../../test/support/eventually';
import type { PendingAdmission } from './charge-writer';

let harness: ChargeWriterHarness;

beforeAll(async () => {
  harness = await ChargeWriterHarness.open();
});
afterAll(() => harness.close());

async function standing(tenantId: string): Promise<PendingAdmission> {
  const admission = harness.writer.admit(harness.row(tenantId));
  if (!admission) throw new Error('the queue is full');
  await admission.done;
  return admission;
}

/** Postgres answers with this error whenever somebody writes to the tenant's wallet; lifted by the answer. */
async function breakWallet(tenantId: string, sqlState: string): Promise<() => Promise<void>> {
  await harness.pool.query(`
    create function break_wallet() returns trigger language plpgsql as
      $$ begin raise exception 'broken' using errcode = '${sqlState}'; end $$;
    create trigger break_wallet before update on ledger_account
      for each row when (old.tenant_id = '${tenantId}') execute function break_wallet()`);
  return async () => {
    await harness.pool.query('drop trigger break_wallet on ledger_account; drop function break_wallet()');
  };
}

describe('a row for which Postgres answers an error that does not pass', () => {
  it.each(['42501', '54000', 'XX000', '0A000'])(
    'keeps no other tenant waiting, is not given up, and is written once it can be: %s',
    async (sqlState) => {
      const [broken, other] = [await harness.createTenant(100n), await harness.createTenant(100n)];
      const admissions = await Promise.all([broken, other, broken, other].map(standing));
      const mend = await breakWallet(broken, sqlState);
      const endings = admissions.map((admission) => harness.writer.end(admission, { fields: settledAt(3) }));
      try {
        expect((await Promise.all([endings[1], endings[3]])).map((end) => end?.outcome)).toEqual([
          'committed',
          'committed',
        ]);
        await eventually('only the broken one still waits', () =>
          harness.writer.depth.endings === 2 ? true : undefined,
        );
        const later = await standing(other);
        expect(await harness.writer.end(later, { fields: settledAt(3) })).toMatchObject({ outcome: 'committed' });
        expect((await harness.accounts(broken)).wallet).toEqual({ posted: 100n, version: 0n });
      } finally {
        await mend();
      }
      await Promise.all(endings);
      expect((await harness.accounts(broken)).wallet).toEqual({ posted: 94n, version: 2n });
      expect((await harness.accounts(other)).wallet).toEqual({ posted: 91n, version: 3n });
    },
  );
});
