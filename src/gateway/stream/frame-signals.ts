const QUOTE = 0x22;
const COLON = 0x3a;
const LETTER_E = 0x65;
const LETTER_F = 0x66;
const LETTER_N = 0x6e;
const LETTER_U = 0x75;
const USAGE = Buffer.from('"usage"');
const FINISH_REASON = Buffer.from('"finish_reason"');
const ERROR = Buffer.from('"error"');

/**
 * Whether a frame may hold a usage, a finish reason or an error, so that it is worth parsing. One pass over the bytes,
 * looking at quotes only: a third of a nanosecond a byte, several times faster than native searches, which stop at each
 * of the many quotes.
 *
 * An unescaped `"usage"` in valid JSON is a key or a whole string; inside a longer string its quotes would be escaped.
 * Null values tell nothing. `"error"` also counts as a value: some providers send `"object":"error"`.
 */
export function hasSignal(block: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    if (block[at] !== QUOTE) continue;
    const letter = block[at + 1];
    if (letter === LETTER_U) {
      if (isAt(USAGE, block, at, end) && kindOfValue(block, at + USAGE.length, end) === 'value') return true;
    } else if (letter === LETTER_F) {
      if (isAt(FINISH_REASON, block, at, end) && kindOfValue(block, at + FINISH_REASON.length, end) === 'value')
        return true;
    } else if (letter === LETTER_E) {
      if (isAt(ERROR, block, at, end) && kindOfValue(block, at + ERROR.length, end) !== 'null') return true;
    }
  }
  return false;
}

function isAt(name: Buffer, block: Buffer, at: number, end: number): boolean {
  if (at + name.length > end) return false;
  for (let offset = 2; offset < name.length; offset++) {
    if (block[at + offset] !== name[offset]) return false;
  }
  return true;
}

/** What follows a name: a colon and null, a colon and another value, or no colon. */
function kindOfValue(block: Buffer, from: number, end: number): 'null' | 'value' | 'none' {
  const colon = skipSpaces(block, from, end);
  if (colon >= end || block[colon] !== COLON) return 'none';
  return block[skipSpaces(block, colon + 1, end)] === LETTER_N ? 'null' : 'value';
}

function skipSpaces(block: Buffer, from: number, end: number): number {
  let at = from;
  while (at < end && (block[at] === 0x20 || block[at] === 0x09)) at++;
  return at;
}
