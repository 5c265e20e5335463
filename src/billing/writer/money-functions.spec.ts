import type { PoolClient } from 'pg';
import { ChargeWriterHarness, settledAt, VOIDED } from '../../../test/support/charge-writer-harness';
import { eventually } from '../../../test/support/eventually';
import { firstSeed, Seeded } from '../../../test/support/money-stage';
import { newId } from '../../kernel/ids';
import type { AdmitRow, EndRow } from './charge-rows';

let harness: ChargeWriterHarness;

beforeAll(async () => {
  harness = await ChargeWriterHarness.open();
});
afterEach(() => harness.releaseLocks());
afterAll(() => harness.close());

/** One batch, as the writer sends it; the outcomes by charge. */
async function endBatch(rows: readonly EndRow[]): Promise<Map<string, string>> {
  const { rows: replies } = await harness.pool.query<{ id: string; outcome: string }>(
    'select id, outcome from billing_end($1::json)',
    [JSON.stringify(rows)],
  );
  return new Map(replies.map(({ id, outcome }) => [id, outcome]));
}

describe('charges that are posted in one batch', () => {
  interface Charge {
    readonly row: EndRow;
    readonly amount: bigint;
    readonly creditLimit: bigint;
  }

  interface Transfer {
    readonly transaction_id: string;
    readonly account: string;
    readonly amount: string;
    readonly debit_version: string;
  }

  interface Expected {
    readonly wallet: bigint;
    readonly overrun: bigint;
    readonly transfers: readonly Transfer[];
  }

  /** One after the other in the order of their ids, each down to its own limit; the rest goes to overrun. */
  function inTurn(posted: bigint, charges: readonly Charge[]): Expected {
    let [wallet, overrun, walletVersion, overrunVersion] = [posted, 0n, 0n, 0n];
    const transfers: Transfer[] = [];
    for (const { row, amount, creditLimit } of [...charges].sort((a, b) => (a.row.id < b.row.id ? -1 : 1))) {
      const spendable = wallet + creditLimit;
      const part = spendable < 0n ? 0n : spendable > amount ? amount : spendable;
      wallet -= part;
      overrun -= amount - part;
      const transfer = (account: string, moved: bigint, version: bigint): Transfer => ({
        transaction_id: row.id,
        account,
        amount: moved.toString(),
        debit_version: version.toString(),
      });
      if (part > 0n) transfers.push(transfer('wallet', part, (walletVersion += 1n)));
      if (amount > part) transfers.push(transfer('overrun', amount - part, (overrunVersion += 1n)));
    }
    return { wallet, overrun, transfers };
  }

  function randomCharge(random: Seeded, tenantId: string, limits: readonly bigint[]): Charge {
    const [amount, creditLimit] = [random.integer(0, 4) === 0 ? 0 : random.integer(1, 900), random.pick(limits)];
    const frozen = harness.row(tenantId, { credit_limit_nano_usd: creditLimit.toString() });
    return { row: { ...frozen, ...settledAt(amount), is_new: true }, amount: BigInt(amount), creditLimit };
  }

  async function transfersOf(tenantId: string): Promise<Transfer[]> {
    const { rows } = await harness.pool.query<Transfer>(
      `select t.transaction_id, a.name as account, t.amount_nano_usd as amount, t.debit_version
         from ledger_transfer t join ledger_account a on a.id = t.debit_account_id
        where a.tenant_id = $1 order by t.transaction_id, a.name desc`,
      [tenantId],
    );
    return rows;
  }

  const seed = firstSeed();
  const CASES = 400;

  it(`take the wallet to their own limits, one after the other (${CASES} batches, seed ${seed})`, async () => {
    const random = new Seeded(seed);
    for (let at = 0; at < CASES; at += 1) {
      const tenants = await Promise.all(
        Array.from({ length: random.integer(1, 3) }, async () => {
          const posted = BigInt(random.integer(-700, 2_500));
          const tenantId = await harness.createTenant(posted, 5_000n);
          const limits = Array.from({ length: random.integer(1, 3) }, () => BigInt(random.integer(0, 1_200)));
          const charges = Array.from({ length: random.integer(1, 9) }, () => randomCharge(random, tenantId, limits));
          return { tenantId, posted, charges };
        }),
      );
      const batch = tenants.flatMap(({ charges }) => charges.map(({ row }) => row));
      for (let from = batch.length - 1; from > 0; from -= 1) {
        const to = random.integer(0, from);
        const [a, b] = [batch[from], batch[to]];
        if (a && b) [batch[from], batch[to]] = [b, a];
      }
      await endBatch(batch);
      for (const { tenantId, posted, charges } of tenants) {
        const { wallet, overrun } = await harness.accounts(tenantId);
        expect({
          seed,
          at,
          wallet: wallet.posted,
          overrun: overrun.posted,
          transfers: await transfersOf(tenantId),
        }).toEqual({ seed, at, ...inTurn(posted, charges) });
      }
    }
  });

  it('are refused, not booked to nobody, where the tenant has no accounts', async () => {
    const row = harness.row(newId());
    await expect(endBatch([{ ...row, ...settledAt(5), is_new: true }])).rejects.toMatchObject({ code: '23502' });
  });
});

describe('PENDING rows of a process that does not live', () => {
  async function processThatIs(status: string): Promise<string> {
    const processId = newId();
    await harness.register(processId);
    await mark(processId, status);
    return processId;
  }

  async function mark(processId: string, status: string): Promise<void> {
    await harness.pool.query('update gateway_process set status = $2 where id = $1', [processId, status]);
  }

  /** Runs billing_admit in a transaction that stays open. */
  async function admitIn(client: PoolClient, row: AdmitRow): Promise<string | undefined> {
    await client.query('begin');
    const { rows } = await client.query<{ status: string }>('select status from billing_admit($1::json)', [
      JSON.stringify([row]),
    ]);
    return rows[0]?.status;
  }

  it.each(['dead', 'swept', 'ended', 'unknown'])('are not admitted where it is %s', async (status) => {
    const tenantId = await harness.createTenant();
    const processId = status === 'unknown' ? newId() : await processThatIs(status);
    const [left, alive] = [harness.row(tenantId, { process_id: processId }), harness.row(tenantId)];
    const [first, second] = [harness.writer.admit(left), harness.writer.admit(alive)];
    expect([await first?.done, await second?.done]).toEqual(['dead', 'admitted']);
    expect(await harness.statusOf(left.id)).toBeUndefined();
    expect(await harness.statusOf(alive.id)).toMatchObject({ status: 'PENDING' });
  });

  it('leave a VOIDED row where their call is given up', async () => {
    const row = harness.row(await harness.createTenant(), { process_id: await processThatIs('dead') });
    const admission = harness.writer.admit(row);
    if (!admission) throw new Error('the queue is full');
    expect(await admission.done).toBe('dead');
    expect(await harness.writer.end(admission, { fields: VOIDED })).toMatchObject({ outcome: 'voided' });
    expect(await harness.statusOf(row.id)).toMatchObject({ status: 'VOIDED' });
  });

  it('are awaited by the mark, so that the sweeper sees every row there will ever be', async () => {
    const processId = newId();
    await harness.register(processId);
    const row = harness.row(await harness.createTenant(), { process_id: processId });
    const client = await harness.pool.connect();
    expect(await admitIn(client, row)).toBe('PENDING');
    const seen = mark(processId, 'dead').then(() => harness.statusOf(row.id));
    await eventually('the mark waits', async () => {
      const { rows } = await client.query(`select from pg_locks where locktype = 'advisory' and not granted`);
      return rows.length > 0 ? true : undefined;
    });
    await client.query('commit');
    client.release();
    expect(await seen).toMatchObject({ status: 'PENDING' });
  });

  it('wait for a mark that is on its way, and are not admitted after it', async () => {
    const processId = newId();
    await harness.register(processId);
    const client = await harness.pool.connect();
    await client.query('begin');
    await client.query(`update gateway_process set status = 'dead' where id = $1`, [processId]);
    const row = harness.row(await harness.createTenant(), { process_id: processId });
    const admission = harness.writer.admit(row);
    await eventually('the row is on its way', () => (admission?.state === 'writing' ? true : undefined));
    await client.query('commit');
    client.release();
    expect(await admission?.done).toBe('dead');
  });

  it('let the beat pass while they are being written', async () => {
    const client = await harness.pool.connect();
    await admitIn(client, harness.row(await harness.createTenant()));
    const { rowCount } = await harness.pool.query('update gateway_process set beat = beat + 1 where id = $1', [
      harness.processId,
    ]);
    expect(rowCount).toBe(1);
    await client.query('commit');
    client.release();
  });

  const STATUSES = [
    ['swept', 'fenced', 0n],
    ['ended', 'fenced', 0n],
    // The sweeper is still at it: whoever ends the charge first wins, and the hold is found.
    ['dead', 'committed', 5n],
  ] as const;

  it.each(STATUSES)(
    'cannot be jumped by a commit without one: where it is %s, it is %s',
    async (status, outcome, paid) => {
      const tenantId = await harness.createTenant(100n);
      const row = harness.row(tenantId, { process_id: await processThatIs(status) });
      expect((await endBatch([{ ...row, ...settledAt(5), is_new: true }])).get(row.id)).toBe(outcome);
      expect((await harness.accounts(tenantId)).wallet.posted).toBe(100n - paid);
    },
  );

  it('are charged by a correction where the sweeper had voided them before the process settled', async () => {
    const tenantId = await harness.createTenant(100n);
    const row = harness.row(tenantId, { process_id: await processThatIs('swept') });
    const commit = { ...row, ...settledAt(5), is_new: true };
    await endBatch([{ ...row, ...VOIDED, is_new: true }]);
    expect((await endBatch([commit])).get(row.id)).toBe('already_voided');
    const correction = { ...commit, id: newId(), trace_id: newId(), type: 'correction' as const };
    expect((await endBatch([correction])).get(correction.id)).toBe('committed');
    expect((await harness.accounts(tenantId)).wallet.posted).toBe(95n);
  });
});
