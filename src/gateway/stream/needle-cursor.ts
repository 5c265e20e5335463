const COLON = 0x3a;
const LETTER_N = 0x6e;

/**
 * Finds one JSON key in the frames of a block. Remembers where its next occurrence lies, so that a block of many frames
 * is searched once and not once a frame. An unescaped `"key"` in valid JSON is the key itself or a whole string; inside a
 * longer string its quotes would be escaped.
 */
export class NeedleCursor {
  private readonly needle: Buffer;
  private block: Buffer | undefined;
  private next = 0;

  constructor(needle: string) {
    this.needle = Buffer.from(needle);
  }

  isWithin(block: Buffer, start: number, end: number): boolean {
    return this.seek(block, start) < end;
  }

  /** Whether the key stands in [start, end) with another value than null. */
  hasValue(block: Buffer, start: number, end: number): boolean {
    for (let at = this.seek(block, start); at < end; at = this.seek(block, at + 1)) {
      const colon = skipSpaces(block, at + this.needle.length, end);
      if (block[colon] !== COLON) continue;
      const value = skipSpaces(block, colon + 1, end);
      if (value < end && block[value] !== LETTER_N) return true;
    }
    return false;
  }

  private seek(block: Buffer, from: number): number {
    if (block !== this.block) {
      this.block = block;
      this.next = -1;
    }
    if (this.next < from) {
      const found = block.indexOf(this.needle, from);
      this.next = found < 0 ? Infinity : found;
    }
    return this.next;
  }
}

function skipSpaces(block: Buffer, from: number, end: number): number {
  let at = from;
  while (at < end && (block[at] === 0x20 || block[at] === 0x09)) at++;
  return at;
}
