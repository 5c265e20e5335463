import type { RandomSource } from './random-source';
import { weightedOrder, type Weighted } from './weighted-order';

interface Named extends Weighted {
  readonly name: string;
}

const named = (name: string, weight: number, priority = 0): Named => ({ name, weight, priority });

/** mulberry32: a fixed seed gives the same draws for ever. */
function seeded(seed: number): RandomSource {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function shares(candidates: readonly Named[], draws: number, position: number): Record<string, number> {
  const random = seeded(20_261_121);
  const counts: Record<string, number> = {};
  for (let i = 0; i < draws; i += 1) {
    const name = weightedOrder(candidates, random, candidates.length)[position]?.name ?? 'none';
    counts[name] = (counts[name] ?? 0) + 1 / draws;
  }
  return counts;
}

describe('weightedOrder', () => {
  const DRAWS = 100_000;
  /** Five standard deviations of a share of a half. */
  const TOLERANCE = 5 * Math.sqrt(0.25 / DRAWS);

  it('gives every upstream its share of the first places', () => {
    const first = shares([named('a', 70), named('b', 20), named('c', 10)], DRAWS, 0);
    expect(Math.abs((first.a ?? 0) - 0.7)).toBeLessThan(TOLERANCE);
    expect(Math.abs((first.b ?? 0) - 0.2)).toBeLessThan(TOLERANCE);
    expect(Math.abs((first.c ?? 0) - 0.1)).toBeLessThan(TOLERANCE);
  });

  it('draws the second place from what is left, by the same weights', () => {
    const second = shares([named('a', 70), named('b', 20), named('c', 10)], DRAWS, 1);
    const expected = { a: 0.2 * (70 / 80) + 0.1 * (70 / 90), b: 0.7 * (20 / 30) + 0.1 * (20 / 90) };
    expect(Math.abs((second.a ?? 0) - expected.a)).toBeLessThan(TOLERANCE);
    expect(Math.abs((second.b ?? 0) - expected.b)).toBeLessThan(TOLERANCE);
  });

  it('takes weight 0 only after everything else of its priority, and evenly', () => {
    const candidates = [named('spare1', 0), named('main', 1), named('spare2', 0)];
    expect(Object.keys(shares(candidates, 10_000, 0))).toEqual(['main']);
    const second = shares(candidates, DRAWS, 1);
    expect(Object.keys(second).sort()).toEqual(['spare1', 'spare2']);
    expect(Math.abs((second.spare1 ?? 0) - 0.5)).toBeLessThan(TOLERANCE);
  });

  it('never tries a later priority before an earlier one, weight 0 or not', () => {
    const candidates = [named('a', 0, 1), named('b', 5, 1), named('c', 1_000_000, 2), named('d', 0, 7)];
    const random = seeded(7);
    for (let i = 0; i < 1_000; i += 1) {
      expect(weightedOrder(candidates, random, 4).map(({ name }) => name)).toEqual(['b', 'a', 'c', 'd']);
    }
  });

  it('holds every candidate once, up to the limit', () => {
    const candidates = Array.from({ length: 20 }, (_, index) => named(String(index), index % 4, Math.floor(index / 5)));
    const random = seeded(3);
    for (let limit = 0; limit <= 25; limit += 1) {
      const order = weightedOrder(candidates, random, limit);
      expect(order).toHaveLength(Math.min(limit, 20));
      expect(new Set(order).size).toBe(order.length);
    }
  });

  it.each([0, 1 - Number.EPSILON / 2, 0.999_999_999_999])('copes with a draw of %d', (draw) => {
    const candidates = [named('a', 0), named('b', 3), named('c', 1_000_000), named('d', 0)];
    const order = weightedOrder(candidates, () => draw, 4);
    expect(new Set(order.slice(0, 2).map(({ weight }) => weight === 0))).toEqual(new Set([false]));
    expect(new Set(order).size).toBe(4);
  });
});
