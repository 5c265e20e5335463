import { randomUUID } from 'node:crypto';
import * as fc from 'fast-check';
import { Invariants } from '../../../src/billing/invariants/invariants.service';
import { HOUSE_ACCOUNT } from '../../../src/billing/ledger/house-accounts';
import { bookNextLines } from '../../../src/billing/re-rating/re-rating-booking';
import { planReRating } from '../../../src/billing/re-rating/re-rating-plan';
import type { FrozenPrice } from '../../../src/catalogue/price';
import { RefusalError } from '../../../src/kernel/errors';
import { nanoUsd } from '../../../src/kernel/money';
import { withTransaction } from '../../../src/platform/database/with-transaction';
import { committedCharge } from '../../support/committed-charge';
import {
  adjust,
  createTenant,
  type MoneyProcess,
  ONE_NANO_A_TOKEN,
  startMoneyProcess,
} from '../../support/money-harness';
import { firstSeed } from '../../support/money-stage';
import { createTestDatabase, type TestDatabase } from '../../support/test-database';
import { startTestRedis, type TestRedis } from '../../support/test-redis';
import { Reference } from './reference';

const RUNS = 40;
const PROVE_EVERY = 10;
/** What a failure is made smaller in. */
const AT_MOST_MS = 60_000;

type Command =
  | { readonly kind: 'credit'; readonly account: 'promo' | 'wallet'; readonly amount: number }
  | { readonly kind: 'debit'; readonly amount: number }
  | { readonly kind: 'charge'; readonly tokens: number; readonly isGranted: boolean }
  | { readonly kind: 'refund'; readonly which: number; readonly thousandths: number }
  | { readonly kind: 're_rate'; readonly perToken: number; readonly chargesDifferences: boolean };

const amount = fc.integer({ min: 1, max: 400 });
const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('credit' as const),
      account: fc.constantFrom('promo' as const, 'promo' as const, 'wallet' as const),
      amount,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('debit' as const), amount }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('charge' as const),
      tokens: fc.integer({ min: 0, max: 300 }),
      isGranted: fc.integer({ min: 0, max: 4 }).map((one) => one === 0),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('refund' as const),
      which: fc.nat({ max: 3 }),
      thousandths: fc.integer({ min: 1, max: 1_200 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('re_rate' as const),
      perToken: fc.integer({ min: 0, max: 2 }),
      chargesDifferences: fc.boolean(),
    }),
  },
);

/** A tenant's charges, refunds, credit notes and recharges in any order, beside the reference after every one of them. */
describe('corrections', () => {
  let database: TestDatabase;
  let redis: TestRedis;
  let money: MoneyProcess;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
    money = await startMoneyProcess({ databaseUrl: database.url, redisUrl: redis.url });
  });

  afterAll(async () => {
    await money.close();
    await redis.stop();
    await database.drop();
  });

  async function run(creditLimit: bigint, commands: readonly Command[]): Promise<void> {
    const { tenantId } = await createTenant(money, nanoUsd(0n), { creditLimit: nanoUsd(creditLimit) });
    const reference = new Reference(creditLimit);
    const revenueBefore = await revenue();
    for (const each of commands) {
      await obey(tenantId, creditLimit, reference, each);
      expect([each, await balances(tenantId)]).toEqual([each, reference.balances]);
    }
    expect((await revenue()) - revenueBefore).toBe(reference.revenue);
    expect(await givenBack(tenantId)).toEqual(reference.charges.map((charge) => charge.givenBack));
  }

  async function obey(tenantId: string, creditLimit: bigint, reference: Reference, each: Command): Promise<void> {
    switch (each.kind) {
      case 'credit':
        reference.adjust(each.account, BigInt(each.amount));
        return adjust(money, tenantId, nanoUsd(BigInt(each.amount)), each.account);
      case 'debit':
        reference.adjust('wallet', -BigInt(each.amount));
        return adjust(money, tenantId, nanoUsd(-BigInt(each.amount)));
      case 'charge': {
        const funding = each.isGranted ? 'subscription' : 'wallet';
        const row = { credit_limit_nano_usd: creditLimit.toString(), model: tenantId, funding } as const;
        const id = await committedCharge(money.module, tenantId, { tokens: { output: each.tokens }, row });
        reference.charge(id, BigInt(each.tokens), each.isGranted);
        return;
      }
      case 'refund':
        return refund(tenantId, reference, each.which, each.thousandths);
      case 're_rate':
        return reRate(tenantId, reference, BigInt(each.perToken), each.chargesDifferences);
    }
  }

  /** More than what is left is asked for now and then: it is refused, and nothing changes. */
  async function refund(tenantId: string, reference: Reference, which: number, thousandths: number): Promise<void> {
    const charge = reference.charges[which % Math.max(1, reference.charges.length)];
    if (!charge) return;
    const wanted = (charge.amount * BigInt(thousandths)) / 1_000n + 1n;
    const asked = {
      tenantId,
      chargeId: charge.id,
      reasonCode: 'TEST',
      description: 'test',
      amount: nanoUsd(wanted),
      idempotencyKey: randomUUID(),
    };
    const isPossible = wanted <= reference.left(charge);
    if (isPossible) reference.refund(charge, wanted);
    const outcome = await money.ledger.refund(asked).catch((error: unknown) => error);
    expect([wanted, outcome instanceof RefusalError]).toEqual([wanted, !isPossible]);
    // Sent again it is the same refund, or refused again.
    const again = await money.ledger.refund(asked).catch((error: unknown) => error);
    if (isPossible) expect(again).toMatchObject({ isRepeat: true, amount: wanted });
    else expect(again).toBeInstanceOf(RefusalError);
  }

  async function reRate(
    tenantId: string,
    reference: Reference,
    perToken: bigint,
    chargesDifferences: boolean,
  ): Promise<void> {
    const output = perToken * 1_000_000n;
    const price: FrozenPrice = {
      ...ONE_NANO_A_TOKEN,
      perMillionTokens: { ...ONE_NANO_A_TOKEN.perMillionTokens, output },
    };
    const question = {
      ...{ model: tenantId, tenantId, from: new Date(0), to: new Date('2100-01-01'), actor: 'test' },
      ...{ priceVersion: '1', price, chargesDifferences },
    };
    const plan = await withTransaction(money.pool, (client) => planReRating(client, question));
    while (await withTransaction(money.pool, (client) => bookNextLines(client, plan)));
    const { rows } = await money.pool.query<{ credited: string; debited: string }>(
      `select coalesce(sum(greatest(booked_nano_usd, 0)), 0) as credited, coalesce(sum(greatest(-booked_nano_usd, 0)), 0) as debited
         from re_rating_line where re_rating_id = $1`,
      [plan],
    );
    const { credited, debited } = reference.reRate(perToken, chargesDifferences);
    expect(rows).toEqual([{ credited: credited.toString(), debited: debited.toString() }]);
  }

  async function balances(tenantId: string): Promise<Record<string, bigint>> {
    const { rows } = await money.pool.query<{ name: string; posted: string }>(
      `select name, posted_nano_usd as posted from ledger_account where tenant_id = $1`,
      [tenantId],
    );
    return { promo: 0n, ...Object.fromEntries(rows.map(({ name, posted }) => [name, BigInt(posted)])) };
  }

  async function givenBack(tenantId: string): Promise<bigint[]> {
    const { rows } = await money.pool.query<{ refunded: string }>(
      `select refunded_nano_usd as refunded from billing_transaction where tenant_id = $1 and type = 'charge' order by id`,
      [tenantId],
    );
    return rows.map(({ refunded }) => BigInt(refunded));
  }

  async function revenue(): Promise<bigint> {
    const { rows } = await money.pool.query<{ revenue: string }>(
      `select coalesce(sum(case when credit_account_id = $1 then amount_nano_usd else -amount_nano_usd end), 0) as revenue
         from ledger_transfer where $1 in (credit_account_id, debit_account_id)`,
      [HOUSE_ACCOUNT.revenue],
    );
    return BigInt(rows[0]?.revenue ?? 0);
  }

  const seed = firstSeed();

  it(`leave every account where a small reference says, and all invariants true (${RUNS} runs, seed ${seed})`, async () => {
    let runs = 0;
    const property = fc.asyncProperty(
      fc.constantFrom(0n, 50n, 1_000n),
      fc.array(command, { minLength: 8, maxLength: 24, size: 'max' }),
      async (creditLimit, commands) => {
        await run(creditLimit, commands);
        runs += 1;
        if (runs % PROVE_EVERY !== 0 && runs < RUNS) return;
        const proof = await money.module.get(Invariants).check();
        expect(proof.filter(({ verdict }) => verdict !== 'holds')).toEqual([]);
      },
    );
    await fc.assert(property, {
      seed,
      numRuns: RUNS,
      interruptAfterTimeLimit: AT_MOST_MS,
      markInterruptAsFailure: true,
    });
  }, 120_000);
});
