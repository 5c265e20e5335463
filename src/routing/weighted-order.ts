import type { RandomSource } from './random-source';

export interface Weighted {
  readonly priority: number;
  readonly weight: number;
}

/**
 * The first `limit` of a random order: lower priorities first, within one priority drawn without replacement in
 * proportion to the weights, weight 0 after all others (in an even order). Takes candidates sorted by priority.
 */
export function weightedOrder<T extends Weighted>(candidates: readonly T[], random: RandomSource, limit: number): T[] {
  const order: T[] = [];
  let start = 0;
  while (start < candidates.length && order.length < limit) {
    const priority = candidates[start]?.priority;
    let end = start + 1;
    while (end < candidates.length && candidates[end]?.priority === priority) end += 1;
    drawTier(candidates.slice(start, end), random, limit, order);
    start = end;
  }
  return order;
}

/** Empties the tier into the order, up to the limit. */
function drawTier<T extends Weighted>(tier: T[], random: RandomSource, limit: number, order: T[]): void {
  let totalWeight = 0;
  for (const { weight } of tier) totalWeight += weight;
  while (tier.length > 0 && order.length < limit) {
    const index = totalWeight > 0 ? drawIndex(tier, random() * totalWeight) : Math.floor(random() * tier.length);
    for (const drawn of tier.splice(index, 1)) {
      totalWeight -= drawn.weight;
      order.push(drawn);
    }
  }
}

/** Where `point`, in [0, sum of the weights), falls; never on a weight of 0. */
function drawIndex(tier: readonly Weighted[], point: number): number {
  let left = point;
  return tier.findIndex(({ weight }) => (left -= weight) < 0);
}
