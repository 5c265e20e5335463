import { FrameSpans } from './frame-spans';

/** Frames are kept by reference up to this size, for the tokenizer. */
export const MAX_KEPT_BYTES = 256 * 1024;

/** The frames of an answer, until they are too many: then none, because a part must not be billed as the whole. */
export class KeptFrames {
  private readonly spans = new FrameSpans();
  private bytes = 0;

  constructor(private readonly maxBytes = MAX_KEPT_BYTES) {}

  add(block: Buffer, start: number, end: number): void {
    if (this.isTooMuch()) return;
    this.bytes += end - start;
    if (this.isTooMuch()) this.spans.clear();
    else this.spans.add(block, start, end);
  }

  /** In order, each of whole frames; undefined where they were too many. */
  pieces(): readonly Buffer[] | undefined {
    return this.isTooMuch() ? undefined : this.spans.all;
  }

  private isTooMuch(): boolean {
    return this.bytes > this.maxBytes;
  }
}
