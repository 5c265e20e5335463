import { ChargeWriterHarness, settledAt } from '../../../test/support/charge-writer-harness';
import type { EndRow } from '../writer/charge-rows';
import type { InvariantResult } from './invariant';
import { checkLedgerInvariant, LEDGER_INVARIANTS } from './ledger-invariants';

let harness: ChargeWriterHarness;

beforeAll(async () => {
  harness = await ChargeWriterHarness.open();
});
afterAll(() => harness.close());

async function check(id: InvariantResult['id']): Promise<InvariantResult> {
  const invariant = LEDGER_INVARIANTS.find((candidate) => candidate.id === id);
  if (!invariant) throw new Error(`there is no ${id}`);
  const client = await harness.pool.connect();
  try {
    return await checkLedgerInvariant(client, invariant);
  } finally {
    client.release();
  }
}

/** Settles one charge with a credit limit of its own; answers its id. */
async function charge(tenantId: string, nanoUsd: number, creditLimit: number): Promise<string> {
  const row: EndRow = {
    ...harness.row(tenantId, { credit_limit_nano_usd: String(creditLimit) }),
    ...settledAt(nanoUsd),
    is_new: true,
  };
  await harness.writer.write(row);
  return row.id;
}

/** Past the triggers that refuse it: what the application cannot do. */
async function plant(sql: string, values: unknown[]): Promise<void> {
  const client = await harness.pool.connect();
  await client.query('set session_replication_role = replica');
  const { rowCount } = await client.query(sql, values);
  await client.query('reset session_replication_role');
  client.release();
  if (rowCount !== 1) throw new Error(`planted in ${rowCount ?? 0} rows`);
}

const MOVE = `
  update ledger_transfer t set amount_nano_usd = t.amount_nano_usd + $3
    from ledger_account a where a.id = t.debit_account_id and a.name = $2 and t.transaction_id = $1`;

describe('I4, that no charge took its wallet below the credit limit frozen with it', () => {
  let tenantId: string;
  let within: string;
  let beyond: string;

  beforeEach(async () => {
    tenantId = await harness.createTenant(0n, 1_000n);
    within = await charge(tenantId, 60, 100);
    beyond = await charge(tenantId, 80, 100);
    // The limit was lowered: all of this goes to overrun, though the wallet is far below the new limit already.
    await charge(tenantId, 7, 20);
    // Another charge was admitted while it was higher.
    await charge(tenantId, 50, 140);
  });

  it('holds for charges with different limits, also after a limit was lowered', async () => {
    expect(await harness.accounts(tenantId)).toMatchObject({ wallet: { posted: -140n }, overrun: { posted: -57n } });
    expect(await check('I4')).toMatchObject({ verdict: 'holds', violations: 0 });
  });

  async function expectViolation(example: string, undo: () => Promise<void>): Promise<void> {
    try {
      expect(await check('I4')).toMatchObject({
        verdict: 'violated',
        examples: expect.arrayContaining([example]) as unknown,
      });
    } finally {
      await undo();
    }
    expect(await check('I4')).toMatchObject({ verdict: 'holds' });
  }

  it('is violated by a debit beyond the limit of its charge', async () => {
    const limit = `update billing_transaction set credit_limit_nano_usd = $2 where id = $1`;
    await plant(limit, [within, '59']);
    await expectViolation(`charge ${within} took its wallet to -60 with a credit limit of 59`, () =>
      plant(limit, [within, '100']),
    );
  });

  it('is violated by a transfer that moved more than the wallet had', async () => {
    await plant(MOVE, [beyond, 'wallet', 1]);
    await expectViolation(
      `charge ${beyond} took its wallet to -101 with a credit limit of 100, the rest to overrun`,
      () => plant(MOVE, [beyond, 'wallet', -1]),
    );
  });

  it('is violated by an overrun beside a wallet that could have paid', async () => {
    await plant(MOVE, [beyond, 'wallet', -1]);
    await expectViolation(
      `charge ${beyond} took its wallet to -99 with a credit limit of 100, the rest to overrun`,
      () => plant(MOVE, [beyond, 'wallet', 1]),
    );
  });
});
