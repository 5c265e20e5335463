import { type TokenCounts, weightedTokens } from '../catalogue/price';
import { ceilDiv, type NanoUsd, nanoUsd } from '../kernel/money';
import type { RoutableUpstream } from './upstream-directory';

const MILLION = 1_000_000n;

/**
 * What the tokens of one attempt cost us, rounded up once. The upstream was read when the call was routed and does not
 * change after that: a new cost price is the next call's. Providers are paid for heard and for spoken audio, which one bucket
 * counts: it costs the dearer of both.
 */
export function upstreamCostOf(tokens: TokenCounts, upstream: RoutableUpstream): NanoUsd {
  const input = upstream.costInputNanoUsdPerMtok;
  const output = upstream.costOutputNanoUsdPerMtok;
  const weighted = weightedTokens(tokens, {
    inputUncached: input,
    inputCached: upstream.costCachedInputNanoUsdPerMtok,
    cacheWrite: upstream.costCacheWriteNanoUsdPerMtok,
    output,
    reasoning: output,
    audio: input > output ? input : output,
    image: input,
  });
  return nanoUsd(ceilDiv(weighted, MILLION));
}
