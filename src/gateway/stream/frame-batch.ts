export interface FrameBatch {
  readonly bytes: Buffer;
  /** Frames of the answer among them. */
  readonly chunks: number;
}

/**
 * What goes to a client next. Frames that lie side by side in the upstream's chunk and need no change go out as that very
 * memory.
 */
export class FrameBatches {
  private readonly parts: Buffer[] = [];
  private block: Buffer | undefined;
  private start = 0;
  private end = 0;
  private chunks = 0;

  /** A frame as it came. */
  pass(block: Buffer, start: number, end: number): void {
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
    this.parts.push(bytes);
  }

  /** One more frame of the answer. */
  count(): void {
    this.chunks++;
  }

  /** Frames that were counted and left nothing to send are counted with what is sent next. */
  take(): FrameBatch | undefined {
    this.closeSpan();
    const [first] = this.parts;
    if (!first) return undefined;
    const bytes = this.parts.length === 1 ? first : Buffer.concat(this.parts);
    const batch = { bytes, chunks: this.chunks };
    this.parts.length = 0;
    this.chunks = 0;
    return batch;
  }

  private closeSpan(): void {
    const { block, start, end } = this;
    if (!block) return;
    this.parts.push(start === 0 && end === block.length ? block : block.subarray(start, end));
    this.block = undefined;
  }
}
