import { MoneyFormatError } from '../kernel/money';
import { bucketPricesOf, nanoUsdOfPrice } from './usd-price';

describe('prices written by people', () => {
  it('are read exactly, digit by digit', () => {
    expect(nanoUsdOfPrice('2.50')).toBe(2_500_000_000n);
    expect(nanoUsdOfPrice('0.005')).toBe(5_000_000n);
    expect(nanoUsdOfPrice('0.000000001')).toBe(1n);
    // As a double this is 0.30000000000000004.
    expect(nanoUsdOfPrice('0.3')).toBe(300_000_000n);
    expect(nanoUsdOfPrice('100000')).toBe(100_000_000_000_000n);
  });

  it.each(['', ' 1', '1e-3', '0x10', '1,5', '.5', '5.', '+1', '-0.1', '100000.000000001', '1.0000000001', 'NaN'])(
    'refuse %j',
    (text) => {
      expect(() => nanoUsdOfPrice(text)).toThrow(MoneyFormatError);
    },
  );

  it('give every bucket that is left out the price of what it is part of', () => {
    expect(bucketPricesOf({ input: '1', output: '4' })).toEqual({
      inputUncached: 1_000_000_000n,
      inputCached: 1_000_000_000n,
      cacheWrite: 1_000_000_000n,
      output: 4_000_000_000n,
      reasoning: 4_000_000_000n,
      audio: 4_000_000_000n,
      image: 1_000_000_000n,
    });
    expect(bucketPricesOf({ input: '4', output: '1' }).audio).toBe(4_000_000_000n);
  });

  it('keep a price of zero where it was given', () => {
    const prices = bucketPricesOf({ input: '1', output: '4', cachedInput: '0', reasoning: '0', image: '0' });
    expect([prices.inputCached, prices.reasoning, prices.image]).toEqual([0n, 0n, 0n]);
  });
});
