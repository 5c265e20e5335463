import { NO_TOKENS, type FrozenPrice } from '../../catalogue/price';
import { nanoUsd } from '../../kernel/money';
import type { Delivered } from '../charge';
import { pricesJson } from './charge-rows';
import { checkpointOf, readCheckpoint, readPrices } from './checkpoint';

const DELIVERED: Delivered = {
  tokens: { inputUncached: 1, inputCached: 2, cacheWrite: 3, output: 4, reasoning: 5, audio: 6, image: 7 },
  method: 'estimated',
  servedBy: { upstreamId: 'u', upstreamName: 'upstream', providerName: 'provider' },
};
const PRICE: FrozenPrice = {
  version: '12',
  perMillionTokens: {
    ...{ inputUncached: 1n, inputCached: 2n, cacheWrite: 3n, output: 9_007_199_254_740_993n },
    ...{ reasoning: 5n, audio: 6n, image: 7n },
  },
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
  });

  it.each([[null], [{}], [{ ...NO_TOKENS }], ['text']])('are none in %j', (value) => {
    expect(readPrices(value, '12')).toBeUndefined();
  });
});
