import type { RandomSource } from './random-source';

/** What the order goes by. */
export interface Draw<T> {
  readonly random: RandomSource;
  /** Lower ones come first, whatever the rest says. */
  priorityOf(candidate: T): number;
  /** Not negative; 0: after all others of the priority. */
  weightOf(candidate: T): number;
  /** How busy it is, for its weight: of two that are drawn the less busy one is taken. 0: not at all. */
  loadOf(candidate: T): number;
}

/**
 * The first `limit` of a random order: lower priorities first, within one priority drawn without replacement in
 * proportion to the weights, weight 0 after all others (in an even order). Where the drawn one is busy, another is drawn,
 * and the less busy of both is taken: so what is slow gets less without any count of it, and nothing gets more than
 * twice its share. Takes candidates sorted by priority.
 */
export function weightedOrder<T>(candidates: readonly T[], draw: Draw<T>, limit: number): T[] {
  const order: T[] = [];
  let start = 0;
  for (let [first] = candidates; first !== undefined && order.length < limit; first = candidates[start]) {
    const priority = draw.priorityOf(first);
    let end = start + 1;
    for (let next = candidates[end]; next !== undefined && draw.priorityOf(next) === priority; next = candidates[end]) {
      end += 1;
    }
    drawTier(candidates, start, end, draw, limit, order);
    start = end;
  }
  return order;
}

/** Appends those of [start, end) to the order, up to the limit. */
function drawTier<T>(
  candidates: readonly T[],
  start: number,
  end: number,
  draw: Draw<T>,
  limit: number,
  order: T[],
): void {
  for (let left = end - start; left > 0 && order.length < limit; left -= 1) {
    const drawn = drawOne(candidates, start, end, draw, order);
    if (drawn === undefined) return;
    const load = draw.loadOf(drawn);
    const other = load > 0 && left > 1 ? drawOne(candidates, start, end, draw, order) : undefined;
    order.push(other !== undefined && draw.loadOf(other) < load ? other : drawn);
  }
}

/** One of [start, end) that is not in the order yet. */
function drawOne<T>(
  candidates: readonly T[],
  start: number,
  end: number,
  draw: Draw<T>,
  order: readonly T[],
): T | undefined {
  let totalWeight = 0;
  let count = 0;
  for (let index = start; index < end; index += 1) {
    const candidate = candidates[index];
    if (candidate === undefined || order.includes(candidate)) continue;
    totalWeight += draw.weightOf(candidate);
    count += 1;
  }
  let point = draw.random() * (totalWeight > 0 ? totalWeight : count);
  let last: T | undefined;
  for (let index = start; index < end; index += 1) {
    const candidate = candidates[index];
    if (candidate === undefined || order.includes(candidate)) continue;
    const share = totalWeight > 0 ? draw.weightOf(candidate) : 1;
    if (share === 0) continue;
    last = candidate;
    point -= share;
    if (point < 0) return candidate;
  }
  // The sum of fractions is not exact: a point beyond all of them is in the last.
  return last;
}
