import * as fc from 'fast-check';

import { MAX_JSON_DEPTH, memberOf, rebuildMembers, scanTopLevel, spliceMembers, type TopLevel } from './top-level-scan';

function scanned(text: string): TopLevel {
  const layout = scanTopLevel(Buffer.from(text));
  if (typeof layout === 'string') throw new Error(`${layout}: ${text}`);
  return layout;
}

function valuesOf(text: string): [string, unknown][] {
  const bytes = Buffer.from(text);
  return scanned(text).members.map(({ key, valueStart, valueEnd }) => [
    key,
    JSON.parse(bytes.toString('utf8', valueStart, valueEnd)) as unknown,
  ]);
}

describe('scanTopLevel', () => {
  it('finds every member where JSON.parse finds it, whatever the object', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue({ maxDepth: 4 })),
        fc.constantFrom(undefined, 1, '\t', '\r\n'),
        (object, indent) => {
          const text = JSON.stringify(object, undefined, indent);
          expect(valuesOf(text)).toEqual(Object.entries(JSON.parse(text) as object));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('is not misled by quotes and backslashes, at any length of string', () => {
    for (let length = 0; length < 80; length++) {
      for (const tail of ['\\', '\\\\', '"', '\\"', '\\\\"', '{"a":[', '"}']) {
        const object = { first: 'x'.repeat(length) + tail, second: [tail, { third: tail + 'y'.repeat(length) }] };
        expect(valuesOf(JSON.stringify(object))).toEqual(Object.entries(object));
      }
    }
  });

  it('never throws on bytes that are not JSON', () => {
    const jsonLike = fc.stringMatching(/^[{}[\]":,\\a1 ]{0,40}$/);
    fc.assert(
      fc.property(
        fc.oneof(
          jsonLike,
          jsonLike.map((text) => `{"a":${text}`),
          fc.string(),
        ),
        (text) => {
          const layout = scanTopLevel(Buffer.from(text));
          if (typeof layout === 'string') return;
          expect(layout.end).toBeLessThanOrEqual(Buffer.byteLength(text));
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('tells arrays and scalars from objects', () => {
    for (const text of ['[]', '"a"', '1', 'null']) expect(scanTopLevel(Buffer.from(text))).toBe('not_an_object');
    for (const text of ['', ' ', '{', '{"a"', '{"a":', '{"a":1', '{"a":1,}', '{"a" 1}', '{a:1}', '{"a":"b']) {
      expect(scanTopLevel(Buffer.from(text))).toBe('malformed');
    }
  });

  it('takes nesting up to the bound and refuses one level more, without reading on', () => {
    const nested = (levels: number): string => `{"a":${'['.repeat(levels)}${']'.repeat(levels)}}`;
    expect(scanned(nested(MAX_JSON_DEPTH - 1)).members).toHaveLength(1);
    expect(scanTopLevel(Buffer.from(nested(MAX_JSON_DEPTH)))).toBe('too_deep');
    expect(scanTopLevel(Buffer.from(`{"a":${'['.repeat(5_000_000)}`))).toBe('too_deep');
  });

  it('sees a name that is spelled twice, also when one spelling has escapes', () => {
    expect(scanned('{"a":1,"b":2}').hasDuplicateKeys).toBe(false);
    expect(scanned('{"a":1,"b":2,"a":3}').hasDuplicateKeys).toBe(true);
    expect(scanned('{"a":1,"\\u0061":3}').hasDuplicateKeys).toBe(true);
    const many = Array.from({ length: 40 }, (_, index) => `"k${index}":0`);
    expect(scanned(`{${many.join(',')}}`).hasDuplicateKeys).toBe(false);
    expect(scanned(`{${many.join(',')},"k7":1}`).hasDuplicateKeys).toBe(true);
  });

  it('returns the last of several members of one name, as JSON.parse would', () => {
    const text = '{"a":1,"a":22}';
    const member = memberOf(scanned(text), 'a');
    expect(text.slice(member?.valueStart, member?.valueEnd)).toBe('22');
  });
});

describe('spliceMembers', () => {
  it('replaces values in place and appends new ones, all other bytes as they were', () => {
    const text = ' { "model" : "a" ,\n "seed":12345678901234567890, "x":{"model":"a"} } ';
    const values = new Map([
      ['model', '"b"'],
      ['n', '2'],
    ]);
    expect(spliceMembers(Buffer.from(text), scanned(text), values).toString()).toBe(
      ' { "model" : "b" ,\n "seed":12345678901234567890, "x":{"model":"a"} ,"n":2} ',
    );
  });

  it('adds to an empty object', () => {
    expect(spliceMembers(Buffer.from('{ }'), scanned('{ }'), new Map([['a', '1']])).toString()).toBe('{ "a":1}');
  });
});

describe('rebuildMembers', () => {
  it('keeps the last of each name with its own bytes, without what is left out', () => {
    const text = '{"a":1,"b":10000000000000000001,"a":3.10,"\\u0063":4}';
    const changes = { without: new Set(['c']), values: new Map([['d', 'true']]) };
    expect(rebuildMembers(Buffer.from(text), scanned(text), changes).toString()).toBe(
      '{"a":3.10,"b":10000000000000000001,"d":true}',
    );
    expect(rebuildMembers(Buffer.from('{"a":1}'), scanned('{"a":1}'), { without: new Set(['a']) }).toString()).toBe(
      '{}',
    );
  });
});
