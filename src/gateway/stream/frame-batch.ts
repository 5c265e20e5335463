import { FrameSpans } from './frame-spans';

export interface FrameBatch {
  readonly bytes: Buffer;
  /** Frames of the answer among them. */
  readonly chunks: number;
}

/** What goes to a client next. Frames that need no change go out as the upstream's very memory. */
export class FrameBatches {
  private readonly spans = new FrameSpans();
  private chunks = 0;

  /** A frame as it came. */
  pass(block: Buffer, start: number, end: number): void {
    this.spans.add(block, start, end);
  }

  /** What takes the place of a frame. */
  put(bytes: Buffer): void {
    this.spans.put(bytes);
  }

  /** One more frame of the answer. */
  count(): void {
    this.chunks++;
  }

  /** Frames that were counted and left nothing to send are counted with what is sent next. */
  take(): FrameBatch | undefined {
    const { all } = this.spans;
    const [first] = all;
    if (!first) return undefined;
    const batch = { bytes: all.length === 1 ? first : Buffer.concat(all), chunks: this.chunks };
    this.spans.clear();
    this.chunks = 0;
    return batch;
  }
}
