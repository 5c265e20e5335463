/** A number in [0, 1), like Math.random; tests bring a seeded one. */
export type RandomSource = () => number;

/** DI token of a RandomSource. */
export const RANDOM_SOURCE = Symbol('RandomSource');
