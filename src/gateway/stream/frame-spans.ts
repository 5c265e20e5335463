/** Frames by reference, in order: those that lie side by side in one block are one piece of that very memory. */
export class FrameSpans {
  private readonly pieces: Buffer[] = [];
  private block: Buffer | undefined;
  private start = 0;
  private end = 0;

  /** A frame as it lies in its block. */
  add(block: Buffer, start: number, end: number): void {
    if (block === this.block && start === this.end) {
      this.end = end;
      return;
    }
    this.closeSpan();
    this.block = block;
    this.start = start;
    this.end = end;
  }

  /** What takes the place of a frame. */
  put(bytes: Buffer): void {
    this.closeSpan();
    this.pieces.push(bytes);
  }

  /** All there are so far, each of whole frames; yours until the next call of this object. */
  get all(): readonly Buffer[] {
    this.closeSpan();
    return this.pieces;
  }

  clear(): void {
    this.pieces.length = 0;
    this.block = undefined;
  }

  private closeSpan(): void {
    const { block, start, end } = this;
    if (!block) return;
    this.pieces.push(start === 0 && end === block.length ? block : block.subarray(start, end));
    this.block = undefined;
  }
}
