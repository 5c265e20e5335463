import { deflateSync } from 'node:zlib';
import { pagesOfPdf } from './pdf-pages';

const encoded = (...parts: readonly (string | Buffer)[]): string =>
  Buffer.concat(parts.map((part) => Buffer.from(part))).toString('base64');
const page = (number: number): string => `${number} 0 obj\n<< /Type /Page /Parent 2 0 R >>\nendobj\n`;
const TREE = '%PDF-1.7\n2 0 obj\n<< /Type /Pages /Count 3 >>\nendobj\n';

function objectStream(text: string): Buffer {
  const bytes = deflateSync(text);
  const head = `9 0 obj\n<< /Type /ObjStm /N 5 /First 30 /Filter /FlateDecode /Length ${bytes.length} >>\nstream\r\n`;
  return Buffer.concat([Buffer.from(head), bytes, Buffer.from('\nendstream\nendobj\n')]);
}

describe('pages of a PDF', () => {
  it('are counted where they stand open, the nodes of their tree are not', () => {
    expect(pagesOfPdf(encoded(TREE, page(3), page(4), '5 0 obj\n<</Type/Page/Parent 2 0 R>>\nendobj\n'))).toBe(3);
  });

  it('are counted in compressed object streams', () => {
    const pages = Array.from({ length: 5 }, (_, at) => `<</Type/Page/Rotate ${at}>> `).join('');
    expect(pagesOfPdf(encoded(TREE, objectStream(pages), objectStream('<</Type/Font>>'), page(3)))).toBe(6);
  });

  it('are told by its size where they cannot be seen', () => {
    expect(pagesOfPdf(encoded(Buffer.alloc(50_000, 1)))).toBe(13);
    expect(pagesOfPdf('')).toBe(1);
    expect(pagesOfPdf('not base64 at all!')).toBe(1);
    expect(pagesOfPdf(encoded(TREE, '/ObjStm stream\nno deflated bytes endstream'))).toBe(1);
  });

  it('are bounded, as is the time to find them, by whatever bytes', () => {
    expect(pagesOfPdf(encoded(page(3).repeat(5_000)))).toBe(1_000);
    const bomb = objectStream('/Type/Pages '.repeat(2_000_000));
    const startedMs = performance.now();
    expect(pagesOfPdf(encoded(...Array.from({ length: 500 }, () => bomb)))).toBeGreaterThan(0);
    expect(performance.now() - startedMs).toBeLessThan(5_000);
  });
});
