/** Frames are kept by reference up to this size, for the tokenizer. */
export const MAX_KEPT_BYTES = 256 * 1024;

/** The frames of an answer, until they are too many: then none, because a part must not be billed as the whole. */
export class KeptFrames {
  private kept: Buffer[] = [];
  /** Frames that lie side by side in one block are one piece. */
  private block: Buffer | undefined;
  private start = 0;
  private end = 0;
  private bytes = 0;
  private isDropped = false;

  constructor(private readonly maxBytes = MAX_KEPT_BYTES) {}

  add(block: Buffer, start: number, end: number): void {
    if (this.isDropped) return;
    this.bytes += end - start;
    if (this.bytes > this.maxBytes) {
      this.isDropped = true;
      this.kept = [];
      this.block = undefined;
    } else if (block === this.block && start === this.end) {
      this.end = end;
    } else {
      this.closeSpan();
      this.block = block;
      this.start = start;
      this.end = end;
    }
  }

  /** In order, each of whole frames; undefined where they were too many. */
  pieces(): readonly Buffer[] | undefined {
    if (this.isDropped) return undefined;
    this.closeSpan();
    return this.kept;
  }

  private closeSpan(): void {
    const { block, start, end } = this;
    if (block) this.kept.push(start === 0 && end === block.length ? block : block.subarray(start, end));
    this.block = undefined;
  }
}
