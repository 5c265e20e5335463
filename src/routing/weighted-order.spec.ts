import type { RandomSource } from './random-source';
import { type Draw, weightedOrder } from './weighted-order';

interface Named {
  readonly name: string;
  readonly weight: number;
  readonly priority: number;
  readonly load: number;
}

const named = (name: string, weight: number, priority = 0, load = 0): Named => ({ name, weight, priority, load });

const by = (random: RandomSource): Draw<Named> => ({
  random,
  priorityOf: ({ priority }) => priority,
  weightOf: ({ weight }) => weight,
  loadOf: ({ load }) => load,
});

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
  const draw = by(seeded(20_261_121));
  const counts: Record<string, number> = {};
  for (let i = 0; i < draws; i += 1) {
    const name = weightedOrder(candidates, draw, candidates.length)[position]?.name ?? 'none';
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
    const draw = by(seeded(7));
    for (let i = 0; i < 1_000; i += 1) {
      expect(weightedOrder(candidates, draw, 4).map(({ name }) => name)).toEqual(['b', 'a', 'c', 'd']);
    }
  });

  it('holds every candidate once, up to the limit', () => {
    const candidates = Array.from({ length: 20 }, (_, index) => named(String(index), index % 4, Math.floor(index / 5)));
    const draw = by(seeded(3));
    for (let limit = 0; limit <= 25; limit += 1) {
      const order = weightedOrder(candidates, draw, limit);
      expect(order).toHaveLength(Math.min(limit, 20));
      expect(new Set(order).size).toBe(order.length);
    }
  });

  it.each([0, 1 - Number.EPSILON / 2, 0.999_999_999_999])('copes with a draw of %d', (drawn) => {
    const candidates = [named('a', 0), named('b', 3), named('c', 1_000_000), named('d', 0)];
    const order = weightedOrder(
      candidates,
      by(() => drawn),
      4,
    );
    expect(new Set(order.slice(0, 2).map(({ weight }) => weight === 0))).toEqual(new Set([false]));
    expect(new Set(order).size).toBe(4);
  });

  it('copes with fractions whose sum is not exact, drawn at its very end', () => {
    const candidates = Array.from({ length: 10 }, (_, index) => named(String(index), 0.1));
    for (let limit = 1; limit <= 10; limit += 1) {
      const order = weightedOrder(
        candidates,
        by(() => 1 - Number.EPSILON / 2),
        limit,
      );
      expect(new Set(order).size).toBe(limit);
    }
  });

  it('takes the less busy of two that are drawn, so that the busiest comes first only where it is drawn twice', () => {
    const first = shares([named('idle', 1, 0, 0), named('busy', 1, 0, 5), named('busiest', 1, 0, 9)], DRAWS, 0);
    expect(Math.abs((first.idle ?? 0) - (1 / 3 + 2 / 9))).toBeLessThan(TOLERANCE);
    expect(Math.abs((first.busy ?? 0) - (1 / 9 + 2 / 9))).toBeLessThan(TOLERANCE);
    expect(Math.abs((first.busiest ?? 0) - 1 / 9)).toBeLessThan(TOLERANCE);
  });

  it('gives what is idle because it fails no more than twice the share its weight gives it', () => {
    const first = shares([named('well', 95, 0, 50), named('failing', 5, 0, 0)], DRAWS, 0);
    expect(first.failing ?? 0).toBeLessThan(0.1);
  });
});
