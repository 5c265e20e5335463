/** How many observations each bucket of a Prometheus histogram has, by its upper bound in ascending order. */
export type Buckets = ReadonlyMap<number, number>;

/** Cumulative counts of an unlabelled histogram, as the exposition text has them. @throws Error where it is not there */
export function cumulativeBuckets(text: string, name: string): Buckets {
  const found = text.matchAll(new RegExp(`^${name}_bucket\\{le="([^"]+)"\\} (\\d+)$`, 'gm'));
  const buckets = new Map(
    [...found].map(([, bound = '', count]) => [bound === '+Inf' ? Infinity : Number(bound), Number(count)]),
  );
  if (buckets.size === 0) throw new Error(`the metrics do not tell of ${name}`);
  return new Map([...buckets].sort(([a], [b]) => a - b));
}

/** What was observed between two scrapes. */
export function between(before: Buckets, after: Buckets): Buckets {
  return new Map([...after].map(([bound, count]) => [bound, count - (before.get(bound) ?? 0)]));
}

/** Of several histograms with the same bounds. */
export function sum(histograms: readonly Buckets[]): Buckets {
  const total = new Map<number, number>();
  for (const buckets of histograms) {
    for (const [bound, count] of buckets) total.set(bound, (total.get(bound) ?? 0) + count);
  }
  return total;
}

export function countOf(buckets: Buckets): number {
  return buckets.get(Infinity) ?? 0;
}

/**
 * The value that `share` of the observations do not exceed, taken as evenly spread within its bucket. Beyond the last
 * finite bound nothing is known but that bound.
 */
export function percentile(buckets: Buckets, share: number): number {
  const rank = countOf(buckets) * share;
  let lowerBound = 0;
  let below = 0;
  for (const [bound, upTo] of buckets) {
    if (upTo >= rank && upTo > below) {
      if (bound === Infinity) return lowerBound;
      return lowerBound + ((bound - lowerBound) * (rank - below)) / (upTo - below);
    }
    if (bound !== Infinity) lowerBound = bound;
    below = upTo;
  }
  return Number.NaN;
}
