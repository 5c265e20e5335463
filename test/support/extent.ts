/** Whether this is `npm run test:long`. */
const IS_LONG = process.env.TEST_LONG === '1';

/** How much of something a test does (or how long it may take): in `npm test`, and in `npm run test:long`. */
export function extent(short: number, long: number): number {
  return IS_LONG ? long : short;
}
