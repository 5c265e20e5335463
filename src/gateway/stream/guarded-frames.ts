import { type CountableAnswer } from './count-tokens';
import { dataStart } from './sse-frame';
import { type FrameSink } from './sse-splitter';
import { type GuardCut, type GuardedStream, type StreamGuard } from './stream-guard';
import { type TokenAccumulator } from './token-accumulator';

/** The stream whose frames wait. */
export interface GuardedFlow {
  readonly take: FrameSink;
  pause(): void;
  /** What waited has been taken; perhaps it waits again. */
  taken(): void;
  cut(cut: GuardCut): void;
}

interface WaitingFrame {
  readonly block: Buffer;
  readonly start: number;
  readonly end: number;
}

/**
 * Frames that wait, unread, until the guard lets them pass or cuts the stream. They are few: the upstream is paused
 * meanwhile.
 */
export class GuardedFrames implements GuardedStream {
  /** A frame of the answer, for one of our own that looks like it. */
  sample: Buffer | undefined;
  private waiting: WaitingFrame[] | undefined;
  private lateEnd: (() => void) | undefined;

  constructor(
    private readonly guard: StreamGuard,
    private readonly accumulator: TokenAccumulator,
    private readonly flow: GuardedFlow,
  ) {
    guard.guard(this);
  }

  get isWaiting(): boolean {
    return this.waiting !== undefined;
  }

  /** Whether the frame waits, because too little is held for it or because others wait before it. */
  holds(block: Buffer, start: number, end: number): boolean {
    if (this.waiting) {
      this.waiting.push({ block, start, end });
      return true;
    }
    if (!this.sample && dataStart(block, start, end) >= 0) this.sample = block.subarray(start, end);
    if (this.guard.admits(this.accumulator.tokensWith(block, start, end))) return false;
    this.waiting = [{ block, start, end }];
    this.flow.pause();
    return true;
  }

  /** Whether the upstream's end, which came while frames wait, is taken up after them. */
  defers(end: () => void): boolean {
    if (!this.waiting) return false;
    this.lateEnd = end;
    return true;
  }

  /** The stream is over: what waits is not part of it. */
  drop(): void {
    this.waiting = undefined;
    this.guard.end();
  }

  answerSoFar(): CountableAnswer {
    const { accumulator } = this;
    const { usage, chunks, writtenTokens } = accumulator;
    return { usage, isUsageFinal: false, chunks, writtenTokens, text: () => accumulator.text(chunks) };
  }

  goOn(): void {
    const { waiting } = this;
    if (!waiting) return;
    this.waiting = undefined;
    for (const { block, start, end } of waiting) this.flow.take(block, start, end);
    this.flow.taken();
    if (this.isWaiting) return;
    const { lateEnd } = this;
    this.lateEnd = undefined;
    lateEnd?.();
  }

  cut(cut: GuardCut): void {
    this.flow.cut(cut);
  }
}
