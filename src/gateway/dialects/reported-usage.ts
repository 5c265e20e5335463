import type { TokenCounts } from '../../catalogue/price';
import type { Dialect } from './dialect';

type UsageFrom = Dialect['usageFrom'];

const KEY = Buffer.from('"usage"');
const BACKSLASH = 0x5c;
const QUOTE = 0x22;
const OPEN = 0x7b;
const CLOSE = 0x7d;
const COLON = 0x3a;
/** From the end: whoever writes the word more often than this is not reporting usage. */
const MAX_LOOKS = 8;
/** No provider's usage object is longer. */
const MAX_OBJECT_BYTES = 16 * 1024;

/**
 * The usage that a body reports which is no answer: one that broke off, an error with a usage beside it. The last one that is
 * whole counts. Undefined where there is none.
 * @param usageFrom of the provider's dialect
 */
export function usageReportedIn(body: Buffer, usageFrom: UsageFrom): TokenCounts | undefined {
  let from = body.length;
  for (let looks = 0; looks < MAX_LOOKS && from > 0; looks += 1) {
    const at = body.lastIndexOf(KEY, from - 1);
    if (at < 0) return undefined;
    // Inside a string, the quote before the word is escaped.
    const usage = body[at - 1] === BACKSLASH ? undefined : usageAt(body, at + KEY.length, usageFrom);
    if (usage) return usage;
    from = at;
  }
  return undefined;
}

function usageAt(body: Buffer, afterKey: number, usageFrom: UsageFrom): TokenCounts | undefined {
  const colon = skipBlanks(body, afterKey);
  if (body[colon] !== COLON) return undefined;
  const start = skipBlanks(body, colon + 1);
  const end = endOfObject(body, start);
  if (end === undefined) return undefined;
  try {
    return usageFrom(JSON.parse(body.toString('utf8', start, end)));
  } catch {
    return undefined;
  }
}

function skipBlanks(body: Buffer, from: number): number {
  let at = from;
  for (let byte = body[at]; byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09; byte = body[at]) at += 1;
  return at;
}

/** Undefined where no object starts here, or it is not whole. */
function endOfObject(body: Buffer, start: number): number | undefined {
  if (body[start] !== OPEN) return undefined;
  const last = Math.min(body.length, start + MAX_OBJECT_BYTES);
  let depth = 0;
  let isInString = false;
  for (let at = start; at < last; at += 1) {
    const byte = body[at];
    if (isInString) {
      if (byte === BACKSLASH) at += 1;
      else if (byte === QUOTE) isInString = false;
    } else if (byte === QUOTE) isInString = true;
    else if (byte === OPEN) depth += 1;
    else if (byte === CLOSE) {
      depth -= 1;
      if (depth === 0) return at + 1;
    }
  }
  return undefined;
}
