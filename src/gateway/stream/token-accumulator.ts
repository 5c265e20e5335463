import { type TokenCounts } from '../../catalogue/price';
import { type CollectedText } from '../dialects/collected-text';
import { type JsonObject } from '../../kernel/json-object';
import { parseObject } from '../dialects/json-value';
import { type FrameKind, type StreamReading } from '../dialects/stream-reading';
import { FrameScanner } from './frame-scanner';
import { KeptFrames } from './kept-frames';
import { dataOf, dataStart, isErrorEvent } from './sse-frame';
import { SseSplitter } from './sse-splitter';

const DONE = Buffer.from('[DONE]');
/** As text goes, in the languages that most is written in. */
const BYTES_PER_TOKEN = 4;

/** How far an answer has come. */
export interface StreamSnapshot {
  /** The last one that the provider reported. */
  readonly usage: TokenCounts | undefined;
  readonly isUsageFinal: boolean;
  readonly isFinished: boolean;
  /** Frames of the answer. */
  readonly chunks: number;
  /** Output as it is counted without parsing. */
  readonly writtenTokens: number;
}

/**
 * Watches the frames of one stream. Frames are searched, not parsed: only one that may hold a usage, an end or an error
 * is given to JSON.parse and to the reading of its dialect, and the text is put together only when somebody asks.
 */
export class TokenAccumulator {
  /** Frames that are part of the answer. */
  chunks = 0;
  bytes = 0;
  /** The error that came in a stream with a success status. */
  errorEvent: unknown;
  /** As it came: a usage in it bills nobody, but the provider may charge us for it. */
  errorFrame: Buffer | undefined;

  private readonly scanner: FrameScanner;
  private readonly kept = new KeptFrames();
  private isLastFrameUsageOnly = false;
  private hasTerminalFrame = false;
  /** Frames that need not be parsed; those that open the answer have no text. */
  private pieces: number;
  private textBytes = 0;
  private reportedTokens = 0;

  private readonly doneKind: FrameKind;

  constructor(private readonly reading: StreamReading) {
    this.doneKind = reading.endsWithDone ? 'done' : 'empty';
    this.scanner = new FrameScanner(reading.vocabulary);
    this.pieces = -reading.openingFrames;
  }

  /** The last credible usage that the provider reported. */
  get usage(): TokenCounts | undefined {
    return this.reading.usage;
  }

  get isUsageFinal(): boolean {
    return this.reading.isUsageFinal || (this.hasTerminalFrame && this.reading.endMakesUsageFinal);
  }

  get finishReason(): string | undefined {
    return this.reading.finishReason;
  }

  /** Every choice gave its reason to end. */
  get isFinished(): boolean {
    return this.reading.isFinished;
  }

  /**
   * The answer is whole although its terminal frame did not come: some providers leave it out. A closing usage stands for
   * the choices that a provider does not have (it answered fewer than were asked), never for a finish reason: usage that
   * is told while the answer runs proves nothing of its end.
   */
  get isWhole(): boolean {
    return this.isFinished || (this.isLastFrameUsageOnly && this.reading.hasFinished);
  }

  /** Nothing was said: no text, no reason to end, no usage. */
  get isEmpty(): boolean {
    return this.chunks === 0 && this.finishReason === undefined && this.usage === undefined;
  }

  /** The output so far without parsing it: frames, bytes of text / 4, or what was reported, whichever is most. */
  get writtenTokens(): number {
    return this.written(this.pieces, this.textBytes);
  }

  get snapshot(): StreamSnapshot {
    const { usage, isUsageFinal, isFinished, chunks, writtenTokens } = this;
    return { usage, isUsageFinal, isFinished, chunks, writtenTokens };
  }

  observe(block: Buffer, start: number, end: number): FrameKind {
    this.bytes += end - start;
    const data = dataStart(block, start, end);
    if (data < 0) return 'empty';
    const kind = isDone(block, data) ? this.doneKind : this.kindOf(block, start, data, end);
    this.isLastFrameUsageOnly = kind === 'usage_only';
    if (kind === 'done') this.hasTerminalFrame = true;
    if (kind === 'data' || kind === 'data_with_usage') {
      this.chunks++;
      this.textBytes += this.scanner.textBytes;
      if (!this.scanner.isWorthParsing) this.pieces++;
      this.kept.add(block, start, end);
    }
    return kind;
  }

  /** What `writtenTokens` would be with this frame, which need not be observed then; 0 for one without any text. */
  tokensWith(block: Buffer, start: number, end: number): number {
    const data = dataStart(block, start, end);
    if (data < 0 || isDone(block, data)) return 0;
    this.scanner.scan(block, data, end);
    const { isWorthParsing, textBytes } = this.scanner;
    if (isWorthParsing && textBytes === 0) return 0;
    return this.written(this.pieces + (isWorthParsing ? 0 : 1), this.textBytes + textBytes);
  }

  /**
   * What the first `chunks` frames of the answer say, or undefined when they were too many to keep.
   */
  text(chunks = this.chunks): CollectedText | undefined {
    const pieces = this.kept.pieces();
    if (!pieces) return undefined;
    const texts = this.reading.texts();
    let left = chunks;
    const splitter = new SseSplitter((block, start, end) => {
      if (dataStart(block, start, end) < 0 || left-- <= 0) return;
      const parsed = parseFrame(block, start, end);
      if (parsed) texts.add(parsed);
    });
    for (const piece of pieces) splitter.push(piece);
    return texts.collected();
  }

  private written(pieces: number, textBytes: number): number {
    return Math.max(0, pieces, Math.ceil(textBytes / BYTES_PER_TOKEN), this.reportedTokens);
  }

  private kindOf(block: Buffer, start: number, data: number, end: number): FrameKind {
    this.scanner.scan(block, data, end);
    const isWorthParsing = this.scanner.isWorthParsing || isErrorEvent(block, start, end);
    return isWorthParsing ? this.inspect(block, start, end) : 'data';
  }

  private inspect(block: Buffer, start: number, end: number): FrameKind {
    const parsed = parseFrame(block, start, end);
    const error = parsed && this.reading.errorIn(parsed);
    if (error !== undefined || isErrorEvent(block, start, end)) {
      this.errorEvent = error ?? parsed ?? dataOf(block, start, end);
      this.errorFrame = block.subarray(start, end);
      return 'error';
    }
    if (!parsed) return 'data';
    const kind = this.reading.read(parsed);
    const { usage } = this.reading;
    if (usage) this.reportedTokens = usage.output + usage.reasoning;
    return kind;
  }
}

function isDone(block: Buffer, data: number): boolean {
  return block[data] === DONE[0] && block.compare(DONE, 0, DONE.length, data, data + DONE.length) === 0;
}

function parseFrame(block: Buffer, start: number, end: number): JsonObject | undefined {
  return parseObject(dataOf(block, start, end));
}
