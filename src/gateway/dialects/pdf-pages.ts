import { inflateSync } from 'node:zlib';

/** More than any provider takes in a request. */
const MAX_PAGES = 1_000;
/** Of a PDF whose pages cannot be seen: scanned pages are larger, pages of plain text not much smaller. */
const BYTES_PER_PAGE = 4_096;
/** All the object streams of one PDF together: a bound on the time that a stranger's bytes take. */
const MAX_INFLATED_BYTES = 8 * 1_024 * 1_024;
const MAX_OBJECT_STREAMS = 1_000;
/** From the type of an object stream to its bytes: what else its dictionary says. */
const MAX_DICTIONARY_BYTES = 1_024;

/** By what providers count, a page is some 2,400 tokens with its text, and an image 1,500. */
const IMAGES_PER_PAGE = 2;

/** A page object; `/Pages` is a node of their tree. */
const PAGE = /\/Type\s{0,64}\/Page(?![A-Za-z])/g;

/** As how many images a PDF that is sent along is estimated: it is read as images and as text. */
export function imagesOfPdf(base64: string): number {
  return IMAGES_PER_PAGE * pagesOfPdf(base64);
}

/** About how many pages a PDF has, for the estimate; at least one. Never throws, whatever the bytes are. */
export function pagesOfPdf(base64: string): number {
  const pdf = Buffer.from(base64, 'base64');
  const pages = countPages(pdf.toString('latin1')) + pagesInObjectStreams(pdf);
  return Math.min(MAX_PAGES, pages > 0 ? pages : Math.max(1, Math.ceil(pdf.length / BYTES_PER_PAGE)));
}

/** Since PDF 1.5 objects may stand in compressed streams. */
function pagesInObjectStreams(pdf: Buffer): number {
  let pages = 0;
  let left = MAX_INFLATED_BYTES;
  let at = pdf.indexOf('/ObjStm');
  for (let streams = 0; at >= 0 && streams < MAX_OBJECT_STREAMS && left > 0; streams++) {
    const start = pdf.indexOf('stream', at);
    if (start < 0) break;
    if (start - at <= MAX_DICTIONARY_BYTES) {
      const text = inflated(pdf, start + 'stream'.length, left);
      // One that is broken or too large may have cost all the time there is.
      if (text === undefined) break;
      left -= text.length;
      pages += countPages(text);
    }
    at = pdf.indexOf('/ObjStm', start);
  }
  return pages;
}

function inflated(pdf: Buffer, afterKeyword: number, maxOutputLength: number): string | undefined {
  // CR LF, or LF alone.
  const from = afterKeyword + (pdf[afterKeyword] === 0x0d ? 2 : 1);
  const end = pdf.indexOf('endstream', from);
  try {
    return inflateSync(pdf.subarray(from, end < 0 ? pdf.length : end), { maxOutputLength }).toString('latin1');
  } catch {
    return undefined;
  }
}

function countPages(text: string): number {
  let pages = 0;
  PAGE.lastIndex = 0;
  while (pages < MAX_PAGES && PAGE.test(text)) pages++;
  return pages;
}
