import * as fc from 'fast-check';
import { jsonDepthExceeds } from './json-depth';

const exceeds = (text: string, depth: number): boolean => jsonDepthExceeds(Buffer.from(text), depth);

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

describe('jsonDepthExceeds', () => {
  it.each([
    ['[[[]]]', 3, false],
    ['[[[]]]', 2, true],
    ['{"a":[{"b":1}]}', 3, false],
    ['{"a":[{"b":1}]}', 2, true],
    ['"[[[[[["', 0, false],
    ['["\\"[[[["]', 1, false],
    ['["\\\\",[]]', 1, true],
    ['[],[],[]', 1, false],
  ])('%s deeper than %i: %s', (text, depth, expected) => {
    expect(exceeds(text, depth)).toBe(expected);
  });

  it('agrees with the parser on every valid JSON', () => {
    fc.assert(
      fc.property(fc.json({ depthSize: 'large' }), (text) => {
        const depth = depthOf(JSON.parse(text));
        expect(exceeds(text, depth)).toBe(false);
        if (depth > 0) expect(exceeds(text, depth - 1)).toBe(true);
      }),
    );
  });

  it('stops early on a bomb', () => {
    expect(exceeds('['.repeat(20_000_000), 64)).toBe(true);
  });
});
