import fc from 'fast-check';
import { referenceCost } from '../../../test/support/rational-cost';
import { ONE_NANO_A_TOKEN } from '../../../test/support/money-harness';
import { ChargeWriterHarness, settledAt } from '../../../test/support/charge-writer-harness';
import {
  type BucketPrices,
  costOf,
  type FrozenPrice,
  NO_TOKENS,
  TOKEN_BUCKETS,
  pricesInForce,
  type TokenCounts,
} from '../../catalogue/price';
import { pricesJson, tiersJson } from '../../catalogue/price-json';
import { newId } from '../../kernel/ids';
import { nanoUsd } from '../../kernel/money';
import { withTransaction } from '../../platform/database/with-transaction';
import { postRefund } from '../ledger/refund';
import { type EndRow, settleFields } from '../writer/charge-rows';
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

/** What is wrong while the planted stands, and nothing once it is taken back. */
async function expectViolation(id: InvariantResult['id'], example: string, undo: () => Promise<void>): Promise<void> {
  try {
    expect(await check(id)).toMatchObject({
      verdict: 'violated',
      examples: expect.arrayContaining([example]) as unknown,
    });
  } finally {
    await undo();
  }
  expect(await check(id)).toMatchObject({ verdict: 'holds' });
}

describe('I3, that what is given back of a charge is its refunds and credit notes', () => {
  let chargeId: string;
  let partId: string;
  let restId: string;

  beforeEach(async () => {
    const tenantId = await harness.createTenant(0n, 1_000n);
    chargeId = await charge(tenantId, 100, 1_000);
    [partId, restId] = [await refund(tenantId, 30), await refund(tenantId)];
  });

  async function refund(tenantId: string, amount?: number): Promise<string> {
    const { transactionId } = await withTransaction(harness.pool, (client) =>
      postRefund(client, {
        tenantId,
        chargeId,
        reasonCode: 'TEST',
        description: 'test',
        amount: amount === undefined ? undefined : nanoUsd(BigInt(amount)),
        idempotencyKey: newId(),
      }),
    );
    return transactionId;
  }

  it('holds for a charge that was given back in parts', async () => {
    expect(await check('I3')).toMatchObject({ verdict: 'holds', violations: 0 });
  });

  it('is violated by a charge that says another sum', async () => {
    const say = `update billing_transaction set refunded_nano_usd = $2 where id = $1`;
    await plant(say, [chargeId, '70']);
    await expectViolation(
      'I3',
      `charge ${chargeId} has 70 given back of 100, its refunds and credit notes are 100`,
      () => plant(say, [chargeId, '100']),
    );
  });

  it('is violated by a charge that names nothing as the last of it, or something before it is', async () => {
    const reverse = `update billing_transaction set reversed_by = $2 where id = $1`;
    await plant(reverse, [chargeId, null]);
    await expectViolation('I3', `charge ${chargeId} is reversed by nothing, though 100 are given back of 100`, () =>
      plant(reverse, [chargeId, restId]),
    );
  });

  it('is violated by a refund that belongs to no charge', async () => {
    const link = `update billing_transaction set original_transaction_id = $2 where id = $1`;
    await plant(link, [partId, null]);
    await expectViolation('I3', `refund ${partId} belongs to no committed charge of its tenant`, () =>
      plant(link, [partId, chargeId]),
    );
  });

  it('is violated by a refund that moved another sum, or none', async () => {
    const move = `update ledger_transfer set amount_nano_usd = amount_nano_usd + $2 where transaction_id = $1`;
    await plant(move, [partId, 1]);
    await expectViolation('I3', `refund ${partId} is of 30, its transfers give back 31`, () =>
      plant(move, [partId, -1]),
    );
    const rename = `update ledger_transfer set kind = $2 where transaction_id = $1`;
    await plant(rename, [partId, 'credit_note']);
    await expectViolation('I3', `a transfer of kind credit_note belongs to the unknown transaction ${partId}`, () =>
      plant(rename, [partId, 'refund']),
    );
  });
});

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

  it('is violated by a debit beyond the limit of its charge', async () => {
    const limit = `update billing_transaction set credit_limit_nano_usd = $2 where id = $1`;
    await plant(limit, [within, '59']);
    await expectViolation('I4', `charge ${within} took its wallet to -60 with a credit limit of 59`, () =>
      plant(limit, [within, '100']),
    );
  });

  it('is violated by a transfer that moved more than the wallet had', async () => {
    await plant(MOVE, [beyond, 'wallet', 1]);
    await expectViolation(
      'I4',
      `charge ${beyond} took its wallet to -101 with a credit limit of 100, the rest to overrun`,
      () => plant(MOVE, [beyond, 'wallet', -1]),
    );
  });

  it('is violated by an overrun beside a wallet that could have paid', async () => {
    await plant(MOVE, [beyond, 'wallet', -1]);
    await expectViolation(
      'I4',
      `charge ${beyond} took its wallet to -99 with a credit limit of 100, the rest to overrun`,
      () => plant(MOVE, [beyond, 'wallet', 1]),
    );
  });
});

describe('I6, that each amount is what the formula gives on its snapshot', () => {
  const each = (price: bigint): BucketPrices => ({
    ...{ inputUncached: price, inputCached: price / 2n, cacheWrite: price, output: 4n * price },
    ...{ reasoning: 4n * price, audio: price, image: price },
  });
  const tiered: FrozenPrice = {
    version: '7',
    perMillionTokens: each(2_000_001n),
    tiers: [
      { aboveInputTokens: 100, perMillionTokens: each(3_000_001n) },
      { aboveInputTokens: 200, perMillionTokens: each(5_000_003n) },
    ],
    perRequestNanoUsd: nanoUsd(3n),
    multiplierMillionths: 850_001n,
  };

  async function settled(
    tokens: Partial<TokenCounts>,
    price = tiered,
  ): Promise<{ id: string; inForce: unknown; amount: bigint }> {
    const tenantId = await harness.createTenant(1_000_000n);
    const settlement = { tokens: { ...NO_TOKENS, ...tokens }, method: 'usage', endReason: 'complete' } as const;
    const { amount, ...fields } = settleFields(price, settlement);
    const prices = pricesJson(price);
    const row: EndRow = { ...harness.row(tenantId, { price_version: '7', prices }), ...fields, is_new: true };
    await harness.writer.write(row);
    expect(amount).toBe(costOf(settlement.tokens, price));
    const { rows } = await harness.pool.query<{ in_force: unknown }>(
      `select arithmetic -> 'prices_in_force' as in_force from request_billing_snapshot where transaction_id = $1`,
      [row.id],
    );
    return { id: row.id, inForce: rows[0]?.in_force, amount };
  }

  it('holds in every tier, and the snapshot names the prices that the length put in force', async () => {
    const found = [
      await settled({ inputUncached: 100, output: 7 }),
      await settled({ inputUncached: 50, inputCached: 30, cacheWrite: 21, output: 7 }),
      await settled({ cacheWrite: 201, reasoning: 3, audio: 1, image: 2 }),
    ].map(({ inForce }) => inForce);
    expect(found).toMatchObject([
      { input_uncached: '2000001' },
      { above_input_tokens: 100, input_uncached: '3000001' },
      { above_input_tokens: 200, input_uncached: '5000003' },
    ]);
    expect(await check('I6')).toMatchObject({ verdict: 'holds', violations: 0 });
  });

  it('holds for charges at any prices, tiers, multipliers and tokens, as rational numbers say them', async () => {
    const prices = fc.record(
      Object.fromEntries(TOKEN_BUCKETS.map((bucket) => [bucket, fc.bigInt({ min: 0n, max: 200_000_000_000n })])),
    ) as fc.Arbitrary<BucketPrices>;
    const cases = fc.record({
      tokens: fc.record(
        Object.fromEntries(TOKEN_BUCKETS.map((bucket) => [bucket, fc.oneof(fc.constant(0), fc.nat(300_000))])),
      ),
      base: prices,
      tiers: fc.uniqueArray(fc.record({ above: fc.integer({ min: 1, max: 600_000 }), prices }), {
        maxLength: 4,
        selector: ({ above }) => above,
      }),
      perRequest: fc.bigInt({ min: 0n, max: 10n ** 9n }),
      multiplierMillionths: fc.bigInt({ min: 1n, max: 100_000_000n }),
    });
    const wrong: unknown[] = [];
    await Promise.all(
      fc.sample(cases, { numRuns: 200, seed: 20_261_121 }).map(async ({ tokens, ...given }) => {
        const { base, tiers, perRequest, multiplierMillionths } = given;
        const { amount } = await settled(tokens, {
          version: '7',
          perMillionTokens: base,
          tiers: tiers
            .map(({ above, prices: perMillionTokens }) => ({ aboveInputTokens: above, perMillionTokens }))
            .sort((a, b) => a.aboveInputTokens - b.aboveInputTokens),
          perRequestNanoUsd: nanoUsd(perRequest),
          multiplierMillionths,
        });
        const exact = referenceCost(tokens, given).roundedUp();
        if (amount !== exact) wrong.push({ tokens, given, amount, exact });
      }),
    );
    expect(wrong).toEqual([]);
    expect(await check('I6')).toMatchObject({ verdict: 'holds', violations: 0 });
  });

  it.each([
    [
      'an amount that another tier gives',
      `update billing_transaction set amount_nano_usd = amount_nano_usd + 1 where id = $1`,
    ],
    [
      'other tiers in the snapshot than in the row',
      `update request_billing_snapshot set arithmetic = jsonb_set(arithmetic, '{prices,tiers,0,output}', '"1"')
        where transaction_id = $1`,
    ],
    [
      'prices in force that its length does not give',
      `update request_billing_snapshot set arithmetic = jsonb_set(arithmetic, '{prices_in_force,output}', '"1"')
        where transaction_id = $1`,
    ],
  ])('is violated by %s', async (_, sql) => {
    const { id } = await settled({ inputUncached: 101, output: 7 });
    const { rows } = await harness.pool.query<{ amount_nano_usd: string; arithmetic: unknown }>(
      `select amount_nano_usd, arithmetic from billing_transaction b
         join request_billing_snapshot s on s.transaction_id = b.id where b.id = $1`,
      [id],
    );
    await plant(sql, [id]);
    const found = await check('I6');
    await plant('update billing_transaction set amount_nano_usd = $2 where id = $1', [id, rows[0]?.amount_nano_usd]);
    await plant('update request_billing_snapshot set arithmetic = $2 where transaction_id = $1', [
      id,
      rows[0]?.arithmetic,
    ]);
    expect(found).toMatchObject({ verdict: 'violated' });
    expect(found.examples.every((what) => what.startsWith(`charge ${id} `))).toBe(true);
    expect(await check('I6')).toMatchObject({ verdict: 'holds' });
  });

  it('finds in SQL the tier that the arithmetic finds', async () => {
    const lengths = Array.from({ length: 300 }, (_, length) => length);
    const { rows } = await harness.pool.query<{ output: string }>(
      `select prices_in_force($1::jsonb, length) ->> 'output' as output from unnest($2::int[]) length order by length`,
      [JSON.stringify(pricesJson(tiered)), lengths],
    );
    const expected = lengths.map((length) =>
      pricesInForce(tiered, { ...NO_TOKENS, inputCached: length }).output.toString(),
    );
    expect(rows.map(({ output }) => output)).toEqual(expected);
    expect(new Set(expected).size).toBe(3);
  });
});

describe('tiers of a price in the database', () => {
  const [oneNano] = tiersJson([{ aboveInputTokens: 1, perMillionTokens: ONE_NANO_A_TOKEN.perMillionTokens }]);
  const tier = (above: unknown): object => ({ ...oneNano, above_input_tokens: above });

  it.each<[string, unknown, boolean]>([
    ['none', [], true],
    ['one', [tier(1)], true],
    ['ascending', [tier(128_000), tier(200_000)], true],
    ['no list', tier(1), false],
    ['null', null, false],
    ['descending', [tier(2), tier(1)], false],
    ['twice the same', [tier(1), tier(1)], false],
    ['not above 0', [tier(0)], false],
    ['a fraction', [tier(1.5)], false],
    ['a threshold as text', [tier('1'), tier('2')], false],
    ['a bucket too few', [{ above_input_tokens: 1 }], false],
    ['a field too many', [{ ...tier(1), per_request: '1' }], false],
    ['a price as a number', [{ ...tier(1), output: 1 }], false],
    ['a price below 0', [{ ...tier(1), output: '-1' }], false],
    ['a number', [1], false],
    ['too many', Array.from({ length: 17 }, (_, at) => tier(at + 1)), false],
  ])('are checked: %s', async (_name, tiers, isTaken) => {
    const { rows } = await harness.pool.query<{ taken: boolean }>('select are_price_tiers($1::jsonb) as taken', [
      JSON.stringify(tiers),
    ]);
    expect(rows).toEqual([{ taken: isTaken }]);
  });
});

describe('I5, that nothing of a charge is booked twice', () => {
  it('is violated where the house pays an attempt again', async () => {
    const upstream_id = newId();
    const tenantId = await harness.createTenant(100n);
    const house_costs = [{ upstream_id, amount_nano_usd: '7', is_served: false }];
    const row: EndRow = { ...harness.row(tenantId), ...settledAt(5), house_costs, is_new: true };
    await harness.writer.write(row);
    expect(await check('I5')).toMatchObject({ verdict: 'holds' });
    const { rows } = await harness.pool.query<{ id: string; account: string }>(
      `insert into ledger_transfer (kind, transaction_id, debit_account_id, credit_account_id, amount_nano_usd, reason_code)
       select kind, transaction_id, debit_account_id, credit_account_id, amount_nano_usd, reason_code
         from ledger_transfer where transaction_id = $1 and kind = 'upstream_cost'
       returning id, credit_account_id as account`,
      [row.id],
    );
    const [planted] = rows;
    const example = `charge ${row.id} pays account ${planted?.account ?? ''} for FAILED_ATTEMPT 2 times`;
    await expectViolation('I5', example, () => plant('delete from ledger_transfer where id = $1', [planted?.id]));
  });
});
