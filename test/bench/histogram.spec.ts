import { between, countOf, cumulativeBuckets, percentile, sum } from './histogram';

const exposition = (counts: readonly [number, number, number]): string =>
  [
    '# TYPE quota_check_duration_seconds histogram',
    `quota_check_duration_seconds_bucket{le="0.002"} ${counts[1]}`,
    `quota_check_duration_seconds_bucket{le="0.001"} ${counts[0]}`,
    `quota_check_duration_seconds_bucket{le="+Inf"} ${counts[2]}`,
    'quota_check_duration_seconds_sum 1.5',
    'billing_duration_seconds_bucket{le="0.001"} 7',
  ].join('\n');

const read = (counts: readonly [number, number, number]): ReturnType<typeof cumulativeBuckets> =>
  cumulativeBuckets(exposition(counts), 'quota_check_duration_seconds');

describe('histogram of two scrapes', () => {
  it('has only what was observed between them', () => {
    const window = between(read([1_000, 1_000, 1_000]), read([1_050, 1_100, 1_100]));
    expect([...window]).toEqual([
      [0.001, 50],
      [0.002, 100],
      [Infinity, 100],
    ]);
    expect(countOf(window)).toBe(100);
  });

  it('interpolates within a bucket', () => {
    const window = read([50, 100, 100]);
    expect(percentile(window, 0.25)).toBeCloseTo(0.0005, 9);
    expect(percentile(window, 0.5)).toBeCloseTo(0.001, 9);
    expect(percentile(window, 0.99)).toBeCloseTo(0.00198, 9);
  });

  it('passes over buckets that nothing fell into', () => {
    expect(percentile(read([0, 10, 10]), 0.5)).toBeCloseTo(0.0015, 9);
  });

  it('says no more than the last bound beyond it', () => {
    expect(percentile(read([0, 10, 100]), 0.99)).toBe(0.002);
  });

  it('adds up rounds', () => {
    expect(percentile(sum([read([10, 10, 10]), read([0, 10, 10])]), 0.75)).toBeCloseTo(0.0015, 9);
  });

  it('is an error where the metric is not told of', () => {
    expect(() => cumulativeBuckets('', 'quota_check_duration_seconds')).toThrow('quota_check_duration_seconds');
  });
});
