import { NO_TOKENS, type FrozenPrice } from '../../catalogue/price';
import { nanoUsd } from '../../kernel/money';
import type { Delivered } from '../charge';
import { pricesJson, readPrices } from '../../catalogue/price-json';
import { checkpointOf, readCheckpoint } from './checkpoint';

const DELIVERED: Delivered = {
  tokens: { inputUncached: 1, inputCached: 2, cacheWrite: 3, output: 4, reasoning: 5, audio: 6, image: 7 },
  method: 'estimated',
  servedBy: { upstreamId: 'u', upstreamName: 'upstream', providerName: 'provider' },
  upstreamCost: nanoUsd(8n),
  houseCosts: [{ upstreamId: 'v', amount: nanoUsd(9n), isServed: false }],
};
const PRICE: FrozenPrice = {
  version: '12',
  perMillionTokens: {
    ...{ inputUncached: 1n, inputCached: 2n, cacheWrite: 3n, output: 9_007_199_254_740_993n },
    ...{ reasoning: 5n, audio: 6n, image: 7n },
  },
  tiers: [],
  perRequestNanoUsd: nanoUsd(8n),
  multiplierMillionths: 1_500_000n,
};
const stored = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

describe('what a row keeps of a stream that is open', () => {
  it('is read as it was written, by bucket', () => {
    expect(readCheckpoint(stored(checkpointOf(DELIVERED)))).toEqual(DELIVERED);
  });

  it.each([
    ['nothing', null],
    ['no object', [1]],
    ['a bucket too few', { ...checkpointOf(DELIVERED), tokens_image: undefined }],
    ['a count below zero', { ...checkpointOf(DELIVERED), tokens_output: -1 }],
    ['a count with a fraction', { ...checkpointOf(DELIVERED), tokens_output: 1.5 }],
    ['an unknown method', { ...checkpointOf(DELIVERED), counting_method: 'guessed' }],
    ['no upstream', { ...checkpointOf(DELIVERED), upstream_name: null }],
  ])('is none where it has %s', (_, value) => {
    expect(readCheckpoint(value)).toBeUndefined();
  });
});

describe('the prices frozen in a row', () => {
  it('are read as they were written, exact beyond doubles', () => {
    expect(readPrices(stored(pricesJson(PRICE)), '12')).toEqual(PRICE);
    expect(pricesJson(PRICE)).not.toHaveProperty('tiers');
  });

  it('are read with the tiers they have', () => {
    const { perMillionTokens } = PRICE;
    const tiered = {
      ...PRICE,
      tiers: [
        { aboveInputTokens: 128_000, perMillionTokens },
        { aboveInputTokens: 200_000, perMillionTokens: { ...perMillionTokens, output: 0n } },
      ],
    };
    expect(readPrices(stored(pricesJson(tiered)), '12')).toEqual(tiered);
  });

  it.each([
    [null],
    [{}],
    [{ ...NO_TOKENS }],
    ['text'],
    [{ ...pricesJson(PRICE), tiers: {} }],
    [{ ...pricesJson(PRICE), tiers: [{ ...pricesJson(PRICE) }] }],
    [{ ...pricesJson(PRICE), tiers: [2, 1].map((above) => ({ ...pricesJson(PRICE), above_input_tokens: above })) }],
  ])('are none in %j', (value) => {
    expect(readPrices(value, '12')).toBeUndefined();
  });
});
