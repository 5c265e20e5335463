/**
 * What a call costs, in fractions of a nano-USD, without a line of the gateway's own arithmetic: each token is priced by
 * itself and nothing is rounded before the end.
 */
export class Rational {
  private constructor(
    readonly numerator: bigint,
    readonly denominator: bigint,
  ) {}

  static of(numerator: bigint, denominator = 1n): Rational {
    const divisor = gcd(numerator < 0n ? -numerator : numerator, denominator);
    return new Rational(numerator / divisor, denominator / divisor);
  }

  plus(other: Rational): Rational {
    return Rational.of(
      this.numerator * other.denominator + other.numerator * this.denominator,
      this.denominator * other.denominator,
    );
  }

  times(other: Rational): Rational {
    return Rational.of(this.numerator * other.numerator, this.denominator * other.denominator);
  }

  /** Of one that is not negative. */
  roundedUp(): bigint {
    const whole = this.numerator / this.denominator;
    return whole * this.denominator === this.numerator ? whole : whole + 1n;
  }
}

/** Nano-USD a million tokens by bucket, in any order of buckets. */
export type ReferencePrices = Readonly<Record<string, bigint>>;

export interface ReferencePrice {
  readonly base: ReferencePrices;
  /** In any order. */
  readonly tiers: readonly { readonly above: number; readonly prices: ReferencePrices }[];
  readonly perRequest: bigint;
  readonly multiplierMillionths: bigint;
}

const INPUT_BUCKETS = ['inputUncached', 'inputCached', 'cacheWrite'];

/** Unrounded nano-USD. */
export function referenceCost(tokens: Readonly<Record<string, number>>, price: ReferencePrice): Rational {
  const input = INPUT_BUCKETS.map((bucket) => tokens[bucket] ?? 0).reduce((sum, count) => sum + count, 0);
  const reached = price.tiers.filter(({ above }) => input > above);
  const highest = Math.max(...reached.map(({ above }) => above));
  const prices = reached.find(({ above }) => above === highest)?.prices ?? price.base;
  let cost = Rational.of(price.perRequest);
  for (const [bucket, count] of Object.entries(tokens)) {
    const each = Rational.of(prices[bucket] ?? 0n, 1_000_000n);
    cost = cost.plus(each.times(Rational.of(BigInt(count))));
  }
  return cost.times(Rational.of(price.multiplierMillionths, 1_000_000n));
}

function gcd(a: bigint, b: bigint): bigint {
  return b === 0n ? a || 1n : gcd(b, a % b);
}
