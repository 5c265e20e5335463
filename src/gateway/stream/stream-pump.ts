import { type TokenCounts } from '../../catalogue/price';
import { type Clock } from '../../kernel/clock';
import { type Refusal } from '../../kernel/errors';
import { type UpstreamCall, type UpstreamFailure, type UpstreamReader } from '../../upstreams/upstream.port';
import { type FrameKind, type StreamReading } from '../dialects/stream-reading';
import { type FrameBatch } from './frame-batch';
import { dataOf, dataStart, isJson } from './sse-frame';
import { type GuardedFlow, GuardedFrames } from './guarded-frames';
import { SseSplitter } from './sse-splitter';
import { type StreamClient } from './stream-client';
import { type StreamProgress } from './tokens-so-far';
import { type StreamEnding, type StreamEndReason } from './stream-ending';
import { type GuardCut, type StreamGuard } from './stream-guard';
import { type StreamWriter } from './stream-writer';
import { TokenAccumulator } from './token-accumulator';

export interface StreamPumpOptions {
  readonly client: StreamClient;
  /** Of the provider's dialect: what the stream says of money. */
  readonly reading: StreamReading;
  /** What the client sees of it, in its own. */
  readonly writer: StreamWriter;
  readonly disconnectPolicy: 'drain' | 'cut';
  readonly drainMs: number;
  readonly clock: Clock;
  /** Resolves when the PENDING row is durable: not a byte leaves before. A refusal: not a byte leaves at all. */
  readonly firstByteGate: Promise<Refusal | undefined>;
  /** The frame of the error that the client sees. */
  readonly renderError: (refusal: Refusal) => Buffer;
  /** Absent where nothing is held, or output costs nothing. */
  readonly guard?: StreamGuard | undefined;
}

/** Read ahead while the gate is closed; then the upstream waits. */
const MAX_HELD_BYTES = 64 * 1024;

/**
 * Moves one stream from the upstream to the client, whatever their dialects.
 *
 *     reading ──► decided ──► ended ──► closed
 *
 * - reading: whole frames pass as they come, held until the gate opens, as fast as the client takes them. A frame for
 *   which too little is held waits with all that follow it, unread, until the guard lets it go on or cuts the stream.
 * - decided: why the stream is over is known and does not change; the upstream is not listened to any more.
 * - ended: `ended` is resolved (the gate is open, or refused). The terminal frame is still held back: the caller settles.
 * - closed: finish() wrote the terminal frame, or fail() an error event. Exactly one of them may be called, once.
 */
export class StreamPump implements UpstreamReader {
  readonly ended: Promise<StreamEnding>;

  private readonly accumulator: TokenAccumulator;
  private readonly splitter: SseSplitter;
  private readonly guarded: GuardedFrames | undefined;
  private resolveEnded: (ending: StreamEnding) => void = () => undefined;
  private call: UpstreamCall | undefined;
  private gate: 'closed' | 'open' | 'refused' = 'closed';
  private held: FrameBatch[] = [];
  private heldBytes = 0;
  private isPaused = false;
  private isAborted = false;
  private reason: StreamEndReason | undefined;
  private guardCut: GuardCut | undefined;
  private hasEnded = false;
  /** The provider has said more than that it took the call. */
  private hasBegun = false;
  private isClosed = false;
  private drainTimer: NodeJS.Timeout | undefined;
  private failure: UpstreamFailure | undefined;
  private fault: string | undefined;
  private firstByteAtMs: number | undefined;
  private deliveredChunks = 0;

  constructor(private readonly options: StreamPumpOptions) {
    this.accumulator = new TokenAccumulator(options.reading);
    this.splitter = new SseSplitter(this.takeFrame);
    this.ended = new Promise((resolve) => {
      this.resolveEnded = resolve;
    });
    this.guarded = options.guard && new GuardedFrames(options.guard, this.accumulator, this.guardedFlow());
    options.client.listen({ onDrain: this.resume, onClose: this.onClientGone });
    options.firstByteGate.then(
      (refusal) => {
        this.onGate(refusal === undefined);
      },
      () => {
        this.onGate(false);
      },
    );
    if (options.client.isGone) this.onClientGone();
  }

  /** What would be billed if it ended now, but for its text: cheap, for whoever wants to know it again and again. */
  get progress(): StreamProgress {
    const { accumulator, options } = this;
    const isReadOn = options.client.isGone && options.disconnectPolicy === 'drain';
    return {
      usage: accumulator.usage,
      isUsageFinal: accumulator.isUsageFinal,
      chunks: isReadOn ? accumulator.chunks : this.deliveredChunks,
    };
  }

  /** The call that feeds this pump, as soon as it exists. */
  attach(call: UpstreamCall): void {
    this.call = call;
    if (this.isAborted) call.abort();
    else if (this.isPaused) call.pause();
  }

  /** The caller read them before it chose this reader: a 2xx event stream. */
  onHeaders(): void {
    // Nothing in them matters to a stream.
  }

  onData(chunk: Buffer): void {
    if (this.reason !== undefined) return;
    this.firstByteAtMs ??= this.options.clock.monotonicMs();
    if (!this.splitter.push(chunk)) {
      this.breakOff('a frame of the stream was larger than 16 MB');
    }
    this.flush();
    if (this.hasReason()) this.conclude();
  }

  onEnd(): void {
    if (this.reason !== undefined) return;
    const isDeferred = this.guarded?.defers(() => {
      this.onEnd();
    });
    if (isDeferred) return;
    this.takeRest();
    this.endUpstream();
  }

  onFailure(failure: UpstreamFailure): void {
    if (this.reason !== undefined) return;
    this.failure = failure;
    this.endUpstream();
  }

  /** Ends the stream where it stands, because this process shuts down. */
  cut(): void {
    if (this.reason !== undefined) return;
    this.abortUpstream();
    this.decide('cut_by_shutdown');
    this.conclude();
  }

  /**
   * The clean end of a complete stream, after its settle: an optional comment line, then the terminal frame. One that the
   * guard cut first gets what its provider would have sent: reasons to end, the usage that was billed, and why. False when
   * the client was gone before.
   */
  finish(comment?: string, billed?: TokenCounts): boolean {
    return this.close(this.lastBytes(comment, billed));
  }

  /** What finish() sends, the same each time. */
  lastBytes(comment?: string, billed?: TokenCounts): Buffer {
    const { guardCut, reason } = this;
    if (reason !== 'complete' && reason !== 'client_left_drained' && !guardCut) {
      throw new Error(`a stream that ended as ${reason ?? 'still reading'} has no clean end`);
    }
    const note = comment === undefined ? '' : `: ${comment.replaceAll(/[\r\n]+/g, ' ')}\n\n`;
    const { writer } = this.options;
    const cutEnd = guardCut ? [this.cutEnd(guardCut, billed)] : [];
    return Buffer.concat([...cutEnd, Buffer.from(note), writer.terminal()]);
  }

  /**
   * One error event, then the stream ends without a terminal frame. Where the client's head was not sent yet
   * (`client.isOpened`), the caller answers with a status instead, or tries another upstream.
   */
  fail(refusal: Refusal): boolean {
    return this.close(this.errorBytes(refusal));
  }

  /** What fail() sends. */
  errorBytes(refusal: Refusal): Buffer {
    return this.options.renderError(refusal);
  }

  private readonly takeFrame = (block: Buffer, start: number, end: number): void => {
    if (this.reason !== undefined) return;
    if (this.guarded?.holds(block, start, end)) return;
    const kind = this.accumulator.observe(block, start, end);
    if (kind === 'error') {
      this.abortUpstream();
      this.decide('upstream_error_event');
      return;
    }
    if (kind !== 'opening' && kind !== 'empty') this.hasBegun = true;
    const { client, writer } = this.options;
    const isShown = client.takesBytes && !this.isPreamble(kind);
    const fault = isShown ? writer.add(kind, block, start, end) : undefined;
    if (fault !== undefined) this.breakOff(fault);
    if (kind === 'done') this.decide(this.accumulator.isEmpty ? 'upstream_broke' : 'complete');
  };

  /** What comes cannot be passed on. */
  private breakOff(fault: string): void {
    this.fault = fault;
    this.failure = { kind: 'reset', message: fault };
    this.abortUpstream();
    this.decide('upstream_broke');
  }

  /** Nothing more comes; what waits for the guard comes before that. */
  private endUpstream(): void {
    const isDeferred = this.guarded?.defers(() => {
      this.endUpstream();
    });
    if (isDeferred) return;
    this.decide(this.accumulator.isWhole ? 'complete' : 'upstream_broke');
    this.flush();
    this.conclude();
  }

  private guardedFlow(): GuardedFlow {
    return {
      take: this.takeFrame,
      pause: () => {
        this.pause();
      },
      taken: () => {
        this.flush();
        if (this.hasReason()) this.conclude();
        else this.resume();
      },
      cut: (cut) => {
        if (this.reason !== undefined) return;
        this.guardCut = cut;
        this.abortUpstream();
        this.decide(cut.reason);
        this.conclude();
      },
    };
  }

  private cutEnd({ reason, limit }: GuardCut, billed: TokenCounts | undefined): Buffer {
    const frames = this.options.writer.cutEnd(billed, this.guarded?.sample);
    return Buffer.concat([frames, Buffer.from(`: tollgate stream_${reason.replace('_', '=')} limit=${limit}\n\n`)]);
  }

  /** Comments before the answer are kept back: they would send the client's head, after which no other upstream may try. */
  private isPreamble(kind: FrameKind): boolean {
    return kind === 'empty' && this.accumulator.chunks === 0;
  }

  /** A last frame without its blank line counts when it is whole; half a frame is nothing. */
  private takeRest(): void {
    const rest = this.splitter.rest();
    if (dataStart(rest, 0, rest.length) < 0) return;
    const data = dataOf(rest, 0, rest.length);
    if (data !== '[DONE]' && !isJson(data)) return;
    const frame = Buffer.concat([rest, Buffer.from('\n\n')]);
    this.takeFrame(frame, 0, frame.length);
  }

  /**
   * What opens an answer waits for what is said next: it would send the client's head, after which no other upstream may
   * try, and providers open answers that they then refuse.
   */
  private flush(): void {
    if (!this.hasBegun) return;
    const batch = this.options.writer.take();
    if (!batch) return;
    if (this.gate === 'open') {
      this.deliver(batch);
      return;
    }
    this.held.push(batch);
    this.heldBytes += batch.bytes.length;
    if (this.heldBytes > MAX_HELD_BYTES) this.pause();
  }

  private deliver(batch: FrameBatch): void {
    const { client } = this.options;
    if (!client.takesBytes) return;
    if (!client.isGone) this.deliveredChunks += batch.chunks;
    if (!client.write(batch.bytes)) this.pause();
  }

  private onGate(isOpen: boolean): void {
    if (!isOpen) {
      this.gate = 'refused';
      this.held = [];
      clearTimeout(this.drainTimer);
      this.abortUpstream();
      this.reason = 'refused';
      this.conclude();
      return;
    }
    this.gate = 'open';
    const { held } = this;
    this.held = [];
    this.resume();
    for (const batch of held) this.deliver(batch);
    if (this.reason !== undefined) this.conclude();
  }

  private readonly onClientGone = (): void => {
    if (this.reason !== undefined) return;
    if (this.options.disconnectPolicy === 'cut') {
      this.abortUpstream();
      this.decide('client_left');
      this.conclude();
      return;
    }
    this.resume();
    this.drainTimer = setTimeout(() => {
      if (this.reason !== undefined) return;
      this.abortUpstream();
      this.decide('client_left');
      this.conclude();
    }, this.options.drainMs);
    this.drainTimer.unref();
  };

  private pause(): void {
    if (this.isPaused || this.reason !== undefined) return;
    this.isPaused = true;
    this.call?.pause();
  }

  private readonly resume = (): void => {
    if (!this.isPaused || this.guarded?.isWaiting) return;
    this.isPaused = false;
    this.call?.resume();
  };

  private abortUpstream(): void {
    this.isAborted = true;
    this.call?.abort();
  }

  private decide(reason: StreamEndReason): void {
    if (this.reason !== undefined) return;
    clearTimeout(this.drainTimer);
    this.guarded?.drop();
    const { client, writer } = this.options;
    if (reason === 'complete' && client.takesBytes) this.fault = writer.complete();
    const isComplete = reason === 'complete' && this.fault === undefined;
    if (client.isGone && !this.guardCut) this.reason = isComplete ? 'client_left_drained' : 'client_left';
    else this.reason = reason === 'complete' && !isComplete ? 'upstream_broke' : reason;
  }

  private hasReason(): boolean {
    return this.reason !== undefined;
  }

  private conclude(): void {
    const { reason } = this;
    if (reason === undefined || this.hasEnded || this.gate === 'closed') return;
    this.hasEnded = true;
    // The rest of the body (a late comment, the end of the response) is let in, so that the connection can be used again.
    if (!this.isAborted) this.resume();
    this.resolveEnded(this.endingFor(reason));
  }

  private endingFor(reason: StreamEndReason): StreamEnding {
    const { accumulator, deliveredChunks, guardCut } = this;
    const { client, disconnectPolicy } = this.options;
    const isWhole = reason === 'complete' || reason === 'client_left_drained';
    const isLeft = reason === 'client_left' || (guardCut !== undefined && client.isGone);
    const isReadOn = isLeft && disconnectPolicy === 'drain';
    const billedChunks = isWhole || isReadOn ? accumulator.chunks : deliveredChunks;
    const writtenTokens = Math.ceil(accumulator.writtenTokens * (billedChunks / Math.max(1, accumulator.chunks)));
    return {
      reason,
      accumulator,
      answer: {
        usage: accumulator.usage,
        isUsageFinal: accumulator.isUsageFinal,
        isStreamed: true,
        chunks: billedChunks,
        writtenTokens,
        isGuarded: guardCut !== undefined,
        text: () => accumulator.text(billedChunks),
      },
      guardCut,
      firstByteAtMs: this.firstByteAtMs,
      deliveredChunks,
      failure: this.failure,
      fault: this.fault,
    };
  }

  private close(lastBytes: Buffer): boolean {
    if (!this.hasEnded) throw new Error('a stream is closed after it ended');
    if (this.isClosed) throw new Error('a stream is closed once');
    this.isClosed = true;
    const { client } = this.options;
    if (client.isGone) return false;
    client.end(lastBytes);
    return true;
  }
}
