import { NO_TOKENS } from '../catalogue/price';
import { nanoUsd } from '../kernel/money';
import { upstreamCostOf } from './upstream-cost';
import type { RoutableUpstream } from './upstream-directory';

/** Nano-USD a million tokens. */
function upstream(costs: {
  input: bigint;
  output: bigint;
  cachedInput?: bigint;
  cacheWrite?: bigint;
}): RoutableUpstream {
  return {
    target: {
      upstreamId: 'u',
      upstreamName: 'upstream',
      providerId: 'p',
      providerName: 'provider',
      baseUrl: 'http://127.0.0.1:9/v1',
      apiKey: 'k',
      upstreamModel: 'm',
      deadlines: { firstByteMs: 1, idleMs: 1, totalMs: 1 },
    },
    kind: 'openai',
    dialects: ['openai-chat'],
    priority: 0,
    weight: 1,
    maxConcurrency: null,
    region: null,
    costInputNanoUsdPerMtok: nanoUsd(costs.input),
    costOutputNanoUsdPerMtok: nanoUsd(costs.output),
    costCachedInputNanoUsdPerMtok: nanoUsd(costs.cachedInput ?? costs.input),
    costCacheWriteNanoUsdPerMtok: nanoUsd(costs.cacheWrite ?? costs.input),
  };
}

describe('what an attempt costs us', () => {
  it('is each bucket at its own cost price', () => {
    const costs = upstream({ input: 1_000_000n, cachedInput: 100_000n, cacheWrite: 2_000_000n, output: 10_000_000n });
    const tokens = {
      inputUncached: 1,
      inputCached: 10,
      cacheWrite: 100,
      output: 1_000,
      reasoning: 500,
      audio: 7,
      image: 3,
    };
    // 1 + 1 + 200 + 10,000 + 5,000, audio at the dearer of both, images as input
    expect(upstreamCostOf(tokens, costs)).toBe(1n + 1n + 200n + 10_000n + 5_000n + 70n + 3n);
  });

  it('is rounded up once, not once a bucket', () => {
    const costs = upstream({ input: 300_000n, output: 300_000n });
    expect(upstreamCostOf({ ...NO_TOKENS, inputUncached: 1, output: 1 }, costs)).toBe(1n);
    expect(upstreamCostOf({ ...NO_TOKENS, inputUncached: 1, output: 3 }, costs)).toBe(2n);
  });

  it('is exact beyond what a double holds', () => {
    const costs = upstream({ input: 9_007_199_254_740_993n, output: 0n });
    expect(upstreamCostOf({ ...NO_TOKENS, inputUncached: 1_000_001 }, costs)).toBe(9_007_208_261_940_248n);
  });

  it('is nothing without tokens, and without a cost price', () => {
    expect(upstreamCostOf(NO_TOKENS, upstream({ input: 1n, output: 1n }))).toBe(0n);
    expect(upstreamCostOf({ ...NO_TOKENS, output: 9 }, upstream({ input: 1n, output: 0n }))).toBe(0n);
  });
});
