/**
 * Receives whole frames. `block` is the upstream's own chunk where the frame lies inside it, so no byte is copied; a
 * frame cut by the network comes in a block of its own. Frames of one block follow each other without gaps. The block
 * is valid for as long as it is referenced.
 */
export type FrameSink = (block: Buffer, start: number, end: number) => void;

/** A picture comes in one frame, some megabytes of base64; what sends larger ones is no stream of an answer. */
export const MAX_FRAME_BYTES = 16 * 1024 * 1024;

const LF = 0x0a;
const CR = 0x0d;
const BLANK_LINE = Buffer.from('\n\n');
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);
const NONE = Buffer.alloc(0);

/**
 * Cuts a stream of server-sent events after each blank line, wherever the network cut it. A frame keeps its blank line
 * and all its bytes; UTF-8 is never decoded here, so a character cut in two is only bytes.
 *
 * Lines end with LF, CR LF or CR (the standard allows all three, mixed). As long as no CR was seen, blank lines are found
 * by a native search; from the first CR on byte by byte.
 */
export class SseSplitter {
  /** Pieces of the frame that is not whole yet. */
  private carried: Buffer[] = [];
  private carriedBytes = 0;
  private sawCarriageReturn = false;
  private atLineStart = true;
  private lastWasCarriageReturn = false;
  /** Bytes of a possible byte order mark seen so far, until it is decided. */
  private opening: Buffer | undefined = NONE;

  constructor(
    private readonly sink: FrameSink,
    private readonly maxFrameBytes = MAX_FRAME_BYTES,
  ) {}

  /** False when a frame outgrew the limit: the stream cannot be read any further. */
  push(chunk: Buffer): boolean {
    const bytes = this.opening === undefined ? chunk : this.withoutByteOrderMark(chunk);
    if (bytes.length === 0) return true;
    if (!this.sawCarriageReturn && bytes.includes(CR)) this.startByteWise();
    return this.sawCarriageReturn ? this.splitByteWise(bytes) : this.splitAtLineFeeds(bytes);
  }

  /** What came after the last blank line; a stream may end without one. */
  rest(): Buffer {
    return Buffer.concat(this.opening ? [this.opening, ...this.carried] : this.carried);
  }

  private splitAtLineFeeds(bytes: Buffer): boolean {
    let start = 0;
    if (this.carriedBytes > 0) {
      const end = this.atLineStart && bytes[0] === LF ? 1 : endOfBlankLine(bytes, 0);
      if (end < 0) return this.carry(bytes);
      if (!this.emitCarried(bytes, end)) return false;
      start = end;
    }
    while (start < bytes.length) {
      const end = endOfBlankLine(bytes, start);
      if (end < 0) return this.carry(start === 0 ? bytes : bytes.subarray(start));
      if (end - start > this.maxFrameBytes) return false;
      this.sink(bytes, start, end);
      start = end;
    }
    return true;
  }

  private splitByteWise(bytes: Buffer): boolean {
    let start = 0;
    for (let at = 0; at < bytes.length; at++) {
      const byte = bytes[at];
      if (byte === LF && this.lastWasCarriageReturn) {
        this.lastWasCarriageReturn = false;
        continue;
      }
      this.lastWasCarriageReturn = byte === CR;
      if (byte !== LF && byte !== CR) {
        this.atLineStart = false;
        continue;
      }
      if (!this.atLineStart) {
        this.atLineStart = true;
        continue;
      }
      if (byte === CR && bytes[at + 1] === LF) {
        at++;
        this.lastWasCarriageReturn = false;
      }
      if (!this.emitUpTo(bytes, start, at + 1)) return false;
      start = at + 1;
    }
    return start === bytes.length || this.carry(start === 0 ? bytes : bytes.subarray(start));
  }

  private emitUpTo(bytes: Buffer, start: number, end: number): boolean {
    if (this.carriedBytes > 0) return this.emitCarried(bytes, end);
    if (end - start > this.maxFrameBytes) return false;
    this.sink(bytes, start, end);
    return true;
  }

  private emitCarried(bytes: Buffer, end: number): boolean {
    if (this.carriedBytes + end > this.maxFrameBytes) return false;
    this.carried.push(bytes.subarray(0, end));
    const frame = Buffer.concat(this.carried);
    this.carried = [];
    this.carriedBytes = 0;
    this.atLineStart = true;
    this.sink(frame, 0, frame.length);
    return true;
  }

  private carry(piece: Buffer): boolean {
    this.carried.push(piece);
    this.carriedBytes += piece.length;
    // Byte-wise splitting keeps this itself; a lone LF at the start of a frame is a blank line of its own.
    if (!this.sawCarriageReturn) this.atLineStart = piece[piece.length - 1] === LF;
    return this.carriedBytes <= this.maxFrameBytes;
  }

  private startByteWise(): void {
    this.sawCarriageReturn = true;
    if (this.carriedBytes === 0) this.atLineStart = true;
  }

  private withoutByteOrderMark(chunk: Buffer): Buffer {
    const seen = this.opening && this.opening.length > 0 ? Buffer.concat([this.opening, chunk]) : chunk;
    const compared = Math.min(seen.length, BYTE_ORDER_MARK.length);
    const isMarkSoFar = BYTE_ORDER_MARK.compare(seen, 0, compared, 0, compared) === 0;
    if (isMarkSoFar && compared < BYTE_ORDER_MARK.length) {
      this.opening = seen;
      return NONE;
    }
    this.opening = undefined;
    return isMarkSoFar ? seen.subarray(BYTE_ORDER_MARK.length) : seen;
  }
}

function endOfBlankLine(bytes: Buffer, from: number): number {
  const at = bytes.indexOf(BLANK_LINE, from);
  return at < 0 ? -1 : at + BLANK_LINE.length;
}
