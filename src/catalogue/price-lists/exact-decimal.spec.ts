import fc from 'fast-check';
import { scaledDecimal } from './exact-decimal';

const SEED = 20_261_121;

describe('a decimal text as a scaled integer', () => {
  it.each([
    ['0.15', 9, 150_000_000n, true],
    ['1.5e-07', 15, 150_000_000n, true],
    ['5e-09', 15, 5_000_000n, true],
    ['5E-9', 15, 5_000_000n, true],
    ['3', 9, 3_000_000_000n, true],
    ['2e+1', 9, 20_000_000_000n, true],
    ['0', 15, 0n, true],
    ['0.0', 15, 0n, true],
    // What a float made of 3e-07: to the next whole one up.
    ['2.9999999999999997e-07', 15, 300_000_000n, false],
    ['1e-16', 15, 1n, false],
    ['0.0000000001', 9, 1n, false],
  ])('%s × 10^%i', (text, power, value, isExact) => {
    expect(scaledDecimal(text, power)).toEqual({ value, isExact });
  });

  it.each(['', '-1', '+1', '1,5', '.5', '1.', 'NaN', 'Infinity', '1e', '1e1000', '0x1', ' 1', '１', '1'.repeat(41)])(
    'is none of %j',
    (text) => {
      expect(scaledDecimal(text, 9)).toBeUndefined();
    },
  );

  it('is the smallest integer that is not less, whatever the notation', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: 10n ** 20n }),
        fc.integer({ min: 0, max: 20 }),
        fc.integer({ min: -30, max: 10 }),
        (digits, decimals, exponent) => {
          const padded = digits.toString().padStart(decimals + 1, '0');
          const cut = padded.length - decimals;
          const text = `${padded.slice(0, cut)}${decimals === 0 ? '' : `.${padded.slice(cut)}`}e${exponent}`;
          // digits × 10^(exponent − decimals + 15) = value, compared without a division.
          const shift = exponent - decimals + 15;
          const [numerator, denominator] =
            shift >= 0 ? [digits * 10n ** BigInt(shift), 1n] : [digits, 10n ** BigInt(-shift)];
          const scaled = scaledDecimal(text, 15);
          if (!scaled) throw new Error(`${text} was not read`);
          const rest = scaled.value * denominator - numerator;
          expect(rest >= 0n && rest < denominator).toBe(true);
          expect(scaled.isExact).toBe(rest === 0n);
        },
      ),
      { seed: SEED, numRuns: 1_000 },
    );
  });

  it('reads what JavaScript writes of a number as the text it was read from', () => {
    fc.assert(
      fc.property(fc.nat(10_000_000), fc.integer({ min: 0, max: 9 }), (digits, decimals) => {
        const number = Number(`${digits}e-${decimals}`);
        expect(scaledDecimal(String(number), 9)).toEqual({
          value: BigInt(digits) * 10n ** BigInt(9 - decimals),
          isExact: true,
        });
      }),
      { seed: SEED, numRuns: 1_000 },
    );
  });
});
