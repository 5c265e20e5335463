import { firstSeed, Seeded } from '../../../test/support/money-stage';
import {
  type BucketPrices,
  costOf,
  type FrozenPrice,
  NO_TOKENS,
  TOKEN_BUCKETS,
  type TokenCounts,
} from '../../catalogue/price';
import { nanoUsd } from '../../kernel/money';
import { receiptLines, sumOfLines, tierInForce } from './receipt-lines';

const ALL = (price: bigint): BucketPrices =>
  Object.fromEntries(TOKEN_BUCKETS.map((bucket) => [bucket, price])) as BucketPrices;

function price(overrides: Partial<FrozenPrice> = {}): FrozenPrice {
  return {
    version: '7',
    perMillionTokens: ALL(0n),
    tiers: [],
    perRequestNanoUsd: nanoUsd(0n),
    multiplierMillionths: 1_000_000n,
    ...overrides,
  };
}

const tokens = (counts: Partial<TokenCounts>): TokenCounts => ({ ...NO_TOKENS, ...counts });

describe('the lines of a receipt', () => {
  it('say what each bucket costs, unrounded, and what the rounding adds', () => {
    // 3 × 0.15 USD and 2 × 0.6 USD a million: 0.45 + 1.2 millionths of a USD, to the whole nano-USD nothing is missing.
    const gpt = price({ perMillionTokens: { ...ALL(0n), inputUncached: 150_000_000n, output: 600_000_000n } });
    expect(receiptLines(tokens({ inputUncached: 3, output: 2 }), gpt)).toEqual([
      { kind: 'tokens', bucket: 'inputUncached', tokens: 3, usdPerMtok: '0.150000000', amountUsd: '0.000000450' },
      { kind: 'tokens', bucket: 'output', tokens: 2, usdPerMtok: '0.600000000', amountUsd: '0.000001200' },
      { kind: 'rounding', amountUsd: '0.000000000' },
    ]);
  });

  it('show a fraction of a nano-USD as it is, and round it up once', () => {
    const cheapest = price({ perMillionTokens: ALL(5_000_001n) });
    expect(receiptLines(tokens({ inputUncached: 1, output: 1 }), cheapest)).toEqual([
      { kind: 'tokens', bucket: 'inputUncached', tokens: 1, usdPerMtok: '0.005000001', amountUsd: '0.000000005000001' },
      { kind: 'tokens', bucket: 'output', tokens: 1, usdPerMtok: '0.005000001', amountUsd: '0.000000005000001' },
      { kind: 'rounding', amountUsd: '0.000000000999998' },
    ]);
  });

  it('have a line for the request, and one for a multiplier, which may take away', () => {
    const cheaper = price({ perRequestNanoUsd: nanoUsd(10n), multiplierMillionths: 333_333n });
    expect(receiptLines(NO_TOKENS, cheaper)).toEqual([
      { kind: 'per_request', amountUsd: '0.000000010' },
      { kind: 'multiplier', multiplier: '0.333333', amountUsd: '-0.00000000666667' },
      { kind: 'rounding', amountUsd: '0.00000000066667' },
    ]);
  });

  it('are at the prices of the tier that the whole input reached', () => {
    const tier = { aboveInputTokens: 100, perMillionTokens: ALL(2_000_000n) };
    const tiered = price({ perMillionTokens: ALL(1_000_000n), tiers: [tier] });
    const [short, long] = [
      tokens({ inputUncached: 60, inputCached: 40 }),
      tokens({ inputUncached: 61, inputCached: 40 }),
    ];
    expect([tierInForce(short, tiered), tierInForce(long, tiered)]).toEqual([undefined, tier]);
    expect(receiptLines(long, tiered)).toMatchObject([
      { bucket: 'inputUncached', usdPerMtok: '0.002000000', amountUsd: '0.000000122' },
      { bucket: 'inputCached', usdPerMtok: '0.002000000', amountUsd: '0.000000080' },
      { kind: 'rounding' },
    ]);
  });

  it('of a call that used nothing and costs nothing are the rounding alone', () => {
    expect(receiptLines(NO_TOKENS, price())).toEqual([{ kind: 'rounding', amountUsd: '0.000000000' }]);
  });

  const seed = firstSeed();
  const CASES = 3_000;

  it(`sum exactly to the cost, whatever the price (${CASES} cases, seed ${seed})`, () => {
    const random = new Seeded(seed);
    for (let at = 0; at < CASES; at += 1) {
      const any = randomPrice(random);
      const counts = Object.fromEntries(
        TOKEN_BUCKETS.map((bucket) => [bucket, random.integer(0, 2) === 0 ? 0 : random.integer(0, 2_000_000)]),
      ) as TokenCounts;
      const lines = receiptLines(counts, any);
      const cost = costOf(counts, any);
      expect([seed, at, exactSum(lines.map(({ amountUsd }) => amountUsd))]).toEqual([seed, at, cost * 10n ** 21n]);
      expect(sumOfLines(lines)).toBe(cost);
      const rounding = lines.filter(({ kind }) => kind === 'rounding');
      expect(rounding).toHaveLength(1);
      // Up, and by less than one nano-USD.
      const added = exactSum(rounding.map(({ amountUsd }) => amountUsd));
      expect(added >= 0n && added < 10n ** 21n).toBe(true);
    }
  });
});

function randomPrice(random: Seeded): FrozenPrice {
  const buckets = (): BucketPrices =>
    Object.fromEntries(
      TOKEN_BUCKETS.map((bucket) => [bucket, BigInt(random.integer(0, 4)) * BigInt(random.integer(0, 2_000_000_000))]),
    ) as BucketPrices;
  const tiers = Array.from({ length: random.integer(0, 3) }, (_, index) => ({
    aboveInputTokens: (index + 1) * random.integer(1, 500_000) + index * 1_000_000,
    perMillionTokens: buckets(),
  }));
  return price({
    perMillionTokens: buckets(),
    tiers,
    perRequestNanoUsd: nanoUsd(BigInt(random.pick([0, 1, 10_000, 999_999_999]))),
    multiplierMillionths: BigInt(random.pick([1, 333_333, 1_000_000, 1_000_001, 2_500_000, 100_000_000])),
  });
}

/** In 10⁻³⁰ USD, by no code of the product. */
function exactSum(amounts: readonly string[]): bigint {
  return amounts.reduce((sum, amount) => {
    const [, sign, whole = '', fraction = ''] = /^(-?)(\d+)\.(\d+)$/.exec(amount) ?? [];
    const magnitude = BigInt(whole + fraction.padEnd(30, '0'));
    return sign === '-' ? sum - magnitude : sum + magnitude;
  }, 0n);
}
