import fc from 'fast-check';
import {
  ceilDiv,
  isWithinTenantBound,
  MAX_TENANT_NANO_USD,
  MoneyFormatError,
  nanoUsd,
  nanoUsdFromDecimal,
  toDecimalUsd,
} from './money';

const SEED = 20_261_121;

describe('money', () => {
  it('survives the way to a decimal USD string and back, for any amount', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n }), (amount) => {
        expect(nanoUsdFromDecimal(toDecimalUsd(nanoUsd(amount)))).toBe(amount);
      }),
      { seed: SEED },
    );
  });

  it.each([
    ['10', 10_000_000_000n],
    ['0.000123', 123_000n],
    ['-0.5', -500_000_000n],
    ['0', 0n],
    ['999999999999.999999999', 999_999_999_999_999_999_999n],
  ])('reads %s as %s nano-USD', (text, amount) => {
    expect(nanoUsdFromDecimal(text)).toBe(amount);
  });

  it.each(['', ' 1', '1e3', '1.', '.5', '0.0000000001', '1,000', '0x10', 'NaN', '--1', '+1', '1234567890123'])(
    'refuses %p as an amount',
    (text) => {
      expect(() => nanoUsdFromDecimal(text)).toThrow(MoneyFormatError);
    },
  );

  it('refuses a fraction, an exponent and an empty text as nano-USD', () => {
    for (const text of ['1.5', '1e9', '', '12345678901234567890'])
      expect(() => nanoUsd(text)).toThrow(MoneyFormatError);
  });

  it('rounds a quotient up and never past the next integer', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }),
        fc.bigInt({ min: 1n, max: 10n ** 15n }),
        (a, b) => {
          const quotient = ceilDiv(a, b);
          expect(quotient * b).toBeGreaterThanOrEqual(a);
          expect((quotient - 1n) * b).toBeLessThan(a);
        },
      ),
      { seed: SEED },
    );
  });

  it.each([
    [MAX_TENANT_NANO_USD, 0n, true],
    [MAX_TENANT_NANO_USD, 1n, false],
    [MAX_TENANT_NANO_USD - 5n, 5n, true],
    // A wallet that was paid down to its credit limit.
    [0n - MAX_TENANT_NANO_USD, MAX_TENANT_NANO_USD, true],
    [-1n - MAX_TENANT_NANO_USD, 0n, false],
    [-1n, MAX_TENANT_NANO_USD + 1n, false],
  ])('lets a wallet stand at %s with a credit limit of %s: %s', (posted, creditLimit, isWithin) => {
    expect(isWithinTenantBound(posted, creditLimit)).toBe(isWithin);
  });
});
