import { ChargeWriterHarness, settledAt, VOIDED } from '../../../test/support/charge-writer-harness';
import { newId } from '../../kernel/ids';
import { HOUSE_ACCOUNT } from '../ledger/house-accounts';
import type { EndFields, EndRow, HouseCostJson } from './charge-rows';

let harness: ChargeWriterHarness;

beforeAll(async () => {
  harness = await ChargeWriterHarness.open();
});
afterEach(() => harness.releaseLocks());
afterAll(() => harness.close());

async function endBatch(rows: readonly EndRow[]): Promise<readonly string[]> {
  const { rows: replies } = await harness.pool.query<{ id: string; outcome: string }>(
    'select id, outcome from billing_end($1::json)',
    [JSON.stringify(rows)],
  );
  const outcomeOf = new Map(replies.map(({ id, outcome }) => [id, outcome]));
  return rows.map(({ id }) => outcomeOf.get(id) ?? 'no answer');
}

async function newRow(fields: EndFields, tenantId?: string): Promise<EndRow> {
  return { ...harness.row(tenantId ?? (await harness.createTenant(1_000n))), ...fields, is_new: true };
}

function cost(upstreamId: string, nanoUsd: number, isServed = false): HouseCostJson {
  return { upstream_id: upstreamId, amount_nano_usd: nanoUsd.toString(), is_served: isServed };
}

/** What the house paid for a charge: `account amount reason`, in the order of names. */
async function paidFor(chargeId: string): Promise<readonly string[]> {
  const { rows } = await harness.pool.query<{ what: string }>(
    `select a.name || ' ' || t.amount_nano_usd || ' ' || t.reason_code as what
       from ledger_transfer t join ledger_account a on a.id = t.credit_account_id and a.tenant_id is null
      where t.transaction_id = $1 and t.kind = 'upstream_cost' and t.debit_account_id = $2 order by 1`,
    [chargeId, HOUSE_ACCOUNT.writeOff],
  );
  return rows.map(({ what }) => what);
}

async function upstreamCostOf(id: string): Promise<string | undefined> {
  const { rows } = await harness.pool.query<{ cost: string }>(
    'select upstream_cost_nano_usd as cost from billing_transaction where id = $1',
    [id],
  );
  return rows[0]?.cost;
}

describe('what attempts cost the house', () => {
  it.each([
    ['committed', settledAt(5)],
    ['voided', VOIDED],
  ])('is booked with the charge that is %s, once, however often the batch is repeated', async (outcome, fields) => {
    const [first, second] = [newId(), newId()];
    const row = await newRow({ ...fields, house_costs: [cost(first, 7), cost(second, 11), cost(first, 2)] });
    expect(await endBatch([row])).toEqual([outcome]);
    const booked = [`upstream_cost:${first} 9 FAILED_ATTEMPT`, `upstream_cost:${second} 11 FAILED_ATTEMPT`].sort();
    expect(await paidFor(row.id)).toEqual(booked);
    expect(await endBatch([row, row])).toEqual([`already_${outcome}`, `already_${outcome}`]);
    expect(await paidFor(row.id)).toEqual(booked);
  });

  it('is nothing where attempts cost nothing, and makes no account', async () => {
    const upstreamId = newId();
    const row = await newRow({ ...settledAt(5), house_costs: [cost(upstreamId, 0)] });
    await endBatch([row]);
    expect(await paidFor(row.id)).toEqual([]);
    const { rows } = await harness.pool.query('select from ledger_account where name = $1', [
      `upstream_cost:${upstreamId}`,
    ]);
    expect(rows).toEqual([]);
  });

  it('leaves the tenant alone: its wallet pays the charge and has the versions of it', async () => {
    const tenantId = await harness.createTenant(100n);
    const row = await newRow({ ...settledAt(5), house_costs: [cost(newId(), 7)] }, tenantId);
    await endBatch([row]);
    expect((await harness.accounts(tenantId)).wallet).toEqual({ posted: 95n, version: 1n });
  });

  it('goes to one account an upstream, however many transactions meet it for the first time at once', async () => {
    const upstreams = Array.from({ length: 6 }, newId);
    const batches = await Promise.all(
      Array.from({ length: 12 }, async (_, at) => {
        const costs = upstreams.map((upstream) => cost(upstream, at + 1));
        const house_costs = at % 2 === 0 ? costs : costs.toReversed();
        return [await newRow({ ...VOIDED, house_costs }), await newRow({ ...settledAt(1), house_costs })];
      }),
    );
    const outcomes = await Promise.all(batches.map((batch) => endBatch(batch)));
    expect(outcomes).toEqual(batches.map(() => ['voided', 'committed']));
    const { rows } = await harness.pool.query<{ id: string; accounts: string; paid: string }>(
      `select substr(a.name, 15) as id, count(distinct a.id) as accounts, sum(t.amount_nano_usd) as paid
         from ledger_account a join ledger_transfer t on t.credit_account_id = a.id
        where a.name = any ($1) and a.posted_nano_usd is null group by 1 order by 1`,
      [upstreams.map((id) => `upstream_cost:${id}`)],
    );
    // 2 × (1 + … + 12)
    expect(rows).toEqual(upstreams.toSorted().map((id) => ({ id, accounts: '1', paid: '156' })));
  });
});

describe('what the served attempt costs', () => {
  it('stands in the row that charges it, and is not the house’s', async () => {
    const upstreamId = newId();
    const fields = { ...settledAt(5), upstream_cost_nano_usd: '4', house_costs: [cost(upstreamId, 4, true)] };
    const row = await newRow(fields);
    await endBatch([row]);
    expect([await upstreamCostOf(row.id), await paidFor(row.id)]).toEqual(['4', []]);
  });

  it('is the house’s where the answer is not charged', async () => {
    const upstreamId = newId();
    const row = await newRow({ ...VOIDED, house_costs: [cost(upstreamId, 4, true), cost(upstreamId, 3)] });
    await endBatch([row]);
    expect(await upstreamCostOf(row.id)).toBe('0');
    expect(await paidFor(row.id)).toEqual([
      `upstream_cost:${upstreamId} 3 FAILED_ATTEMPT`,
      `upstream_cost:${upstreamId} 4 UNCHARGED_ANSWER`,
    ]);
  });

  it('is 0 in rows that a process of before has written, which knows of no costs', async () => {
    const row = { ...(await newRow(settledAt(5))), upstream_cost_nano_usd: undefined, house_costs: undefined };
    expect(await endBatch([row as unknown as EndRow])).toEqual(['committed']);
    expect(await upstreamCostOf(row.id)).toBe('0');
  });
});

describe('an ending that comes after another one', () => {
  it('still says what failed attempts cost: nobody else knew', async () => {
    const upstreamId = newId();
    const swept = await newRow(VOIDED);
    await endBatch([swept]);
    const late = { ...swept, ...settledAt(5), upstream_cost_nano_usd: '4', house_costs: [cost(upstreamId, 7)] };
    expect(await endBatch([late])).toEqual(['already_voided']);
    expect(await paidFor(swept.id)).toEqual([`upstream_cost:${upstreamId} 7 FAILED_ATTEMPT`]);
    expect(await upstreamCostOf(swept.id)).toBe('0');
  });

  it('does not make the house pay what a committed charge says already', async () => {
    const upstreamId = newId();
    const committed = await newRow({ ...settledAt(5), upstream_cost_nano_usd: '4' });
    await endBatch([committed]);
    const withdrawn = { ...committed, ...VOIDED, house_costs: [cost(upstreamId, 4, true)] };
    expect(await endBatch([withdrawn])).toEqual(['already_committed']);
    expect([await upstreamCostOf(committed.id), await paidFor(committed.id)]).toEqual(['4', []]);
  });

  it('books nothing for a charge that has no row: it was fenced', async () => {
    const row = await newRow({ ...settledAt(5), house_costs: [cost(newId(), 7)] });
    const fenced = { ...row, epoch: '0' };
    expect(await endBatch([fenced])).toEqual(['fenced']);
    expect(await paidFor(row.id)).toEqual([]);
  });
});
