import * as fc from 'fast-check';

import { dataOf, dataStart } from './sse-frame';
import { SseSplitter } from './sse-splitter';

interface Split {
  readonly frames: string[];
  readonly data: string[];
  readonly rest: string;
}

function split(chunks: readonly Buffer[]): Split {
  const frames: string[] = [];
  const data: string[] = [];
  const splitter = new SseSplitter((block, start, end) => {
    frames.push(block.toString('utf8', start, end));
    if (dataStart(block, start, end) >= 0) data.push(dataOf(block, start, end));
  });
  for (const chunk of chunks) expect(splitter.push(chunk)).toBe(true);
  return { frames, data, rest: splitter.rest().toString('utf8') };
}

function inTwo(bytes: Buffer, at: number): Buffer[] {
  return [bytes.subarray(0, at), bytes.subarray(at)];
}

const STREAMS: readonly [string, string, string[]][] = [
  ['LF', 'data: a\n\ndata: b\n\n', ['a', 'b']],
  ['CR LF', 'data: a\r\n\r\ndata: b\r\n\r\n', ['a', 'b']],
  ['CR', 'data: a\r\rdata: b\r\r', ['a', 'b']],
  ['mixed line ends', 'data: a\n\ndata: b\r\n\ndata: c\n\r\ndata: d\r\r\ndata: e\r\n\r\n', ['a', 'b', 'c', 'd', 'e']],
  ['a byte order mark', '\uFEFFdata: a\n\ndata: b\n\n', ['a', 'b']],
  ['comments', ': hi\n\ndata: a\n\n: OPENROUTER PROCESSING\n\ndata: b\n\n', ['a', 'b']],
  ['a comment inside an event', 'data: a\n: x\ndata: b\n\n', ['a\nb']],
  ['data of several lines', 'data: {"a":\ndata: 1}\n\ndata:\ndata\ndata: x\n\n', ['{"a":\n1}', '\n\nx']],
  ['other fields', 'event: message\nid: 7\nretry: 10\ndata: a\n\n', ['a']],
  ['fields that only look like data', 'database: x\ndata:a\n\ndat: y\n\n', ['a']],
  ['no space after the colon', 'data:a\n\ndata:  b\n\n', ['a', ' b']],
  ['blank lines between', '\n\n\ndata: a\n\n\n\ndata: b\n\n', ['a', 'b']],
  ['characters of two to four bytes', 'data: é价😀\n\ndata: 😀é\n\n', ['é价😀', '😀é']],
  ['an unfinished end', 'data: a\n\ndata: b', ['a']],
];

describe('SseSplitter', () => {
  it.each(STREAMS)('reads %s, in one piece, byte by byte and split at every offset', (_, text, data) => {
    const bytes = Buffer.from(text);
    expect(split([bytes]).data).toEqual(data);
    expect(split([...bytes].map((byte) => Buffer.from([byte]))).data).toEqual(data);
    for (let at = 0; at <= bytes.length; at++) expect(split(inTwo(bytes, at)).data).toEqual(data);
  });

  it('loses and adds no byte, however the network cuts', () => {
    const line = fc.constantFrom('data: é', 'data:', ': c', 'event: x', '', 'data: {"a":1}');
    const stream = fc
      .array(fc.tuple(line, fc.constantFrom('\n', '\r\n', '\r', '\n\n', '\r\n\r\n')), { maxLength: 20 })
      .map((lines) => Buffer.from(lines.flat().join('')));
    fc.assert(
      fc.property(stream, fc.array(fc.nat(), { maxLength: 8 }), (bytes, cuts) => {
        const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
        const chunks = at.slice(1).map((end, index) => bytes.subarray(at[index], end));
        const whole = split([bytes]);
        const pieces = split(chunks);
        expect(pieces.data).toEqual(whole.data);
        expect(pieces.frames.join('') + pieces.rest).toBe(bytes.toString());
      }),
      { numRuns: 1000 },
    );
  });

  it("hands out the upstream's own memory when frames are whole", () => {
    const chunk = Buffer.from('data: a\n\ndata: b\n\n');
    const spans: unknown[] = [];
    const splitter = new SseSplitter((block, start, end) => spans.push([block === chunk, start, end]));
    splitter.push(chunk);
    expect(spans).toEqual([
      [true, 0, 9],
      [true, 9, 18],
    ]);
  });

  it('refuses a frame beyond the limit, in one piece or many, and takes one at the limit', () => {
    const limit = 100;
    const frameOf = (size: number, end: string): Buffer => Buffer.from('data: '.padEnd(size - end.length, 'x') + end);
    for (const end of ['\n\n', '\r\n\r\n']) {
      for (const pieces of [1, 7]) {
        const feed = (size: number): boolean => {
          const splitter = new SseSplitter(() => undefined, limit);
          const frame = frameOf(size, end);
          for (let at = 0; at < size; at += Math.ceil(size / pieces)) {
            if (!splitter.push(frame.subarray(at, at + Math.ceil(size / pieces)))) return false;
          }
          return true;
        };
        expect(feed(limit)).toBe(true);
        expect(feed(limit + 1)).toBe(false);
      }
    }
    const endless = new SseSplitter(() => undefined, limit);
    expect(endless.push(Buffer.alloc(limit, 'x'))).toBe(true);
    expect(endless.push(Buffer.alloc(1, 'x'))).toBe(false);
  });
});
