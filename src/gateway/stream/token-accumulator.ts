import { type TokenCounts } from '../../catalogue/price';
import { errorOf } from '../dialects/openai-chat/chat-completion';
import { type CollectedText, TextCollector } from '../dialects/openai-chat/collected-text';
import { isArray, isObject, type JsonObject } from '../dialects/openai-chat/json-value';
import { usageFromOpenAi } from '../dialects/openai-chat/usage';
import { hasSignal } from './frame-signals';
import { dataOf, dataStart, isErrorEvent } from './sse-frame';
import { SseSplitter } from './sse-splitter';

/** What the pump has to do with a frame. */
export type FrameKind =
  /** Part of the answer. */
  | 'data'
  /** Part of the answer that carries usage too (DeepSeek, Mistral: on the finish chunk). */
  | 'data_with_usage'
  /** Usage without any choice: only for clients that asked. */
  | 'usage_only'
  | 'done'
  | 'error'
  /** Comments, blank lines: no data. */
  | 'empty';

/** Frames are kept by reference up to this size, for the tokenizer. */
export const MAX_KEPT_BYTES = 256 * 1024;

const DONE = Buffer.from('[DONE]');

/**
 * Watches the frames of one stream. Frames are searched, not parsed: only one that holds a usage, a finish reason or an
 * error is given to JSON.parse, and the text is put together only when somebody asks.
 */
export class TokenAccumulator {
  /** Frames that are part of the answer. */
  chunks = 0;
  bytes = 0;
  /** The last credible usage that the provider reported. */
  usage: TokenCounts | undefined;
  /** It was told with or after the finish reasons. Before them it is provisional: some providers tell it on every frame. */
  isUsageFinal = false;
  /** Of the choice that finished last. */
  finishReason: string | undefined;
  /** The error that came in a stream with a success status. */
  errorEvent: unknown;

  private readonly finishedChoices = new Set<number>();
  private isLastFrameUsageOnly = false;
  /** Frames that lie side by side in one block are one piece. */
  private kept: Buffer[] = [];
  private openBlock: Buffer | undefined;
  private openStart = 0;
  private openEnd = 0;
  private keptBytes = 0;
  private dropped = false;

  /** @param choices how many answers the request asked for (`n`) */
  constructor(private readonly choices: number) {}

  observe(block: Buffer, start: number, end: number): FrameKind {
    this.bytes += end - start;
    const data = dataStart(block, start, end);
    if (data < 0) return 'empty';
    if (block[data] === DONE[0] && block.compare(DONE, 0, DONE.length, data, data + DONE.length) === 0) return 'done';
    const isWorthParsing = hasSignal(block, data, end) || isErrorEvent(block, start, end);
    const kind = isWorthParsing ? this.inspect(block, start, end) : 'data';
    this.isLastFrameUsageOnly = kind === 'usage_only';
    if (kind === 'data' || kind === 'data_with_usage') {
      this.chunks++;
      this.keep(block, start, end);
    }
    return kind;
  }

  /** Every choice gave its reason to end. */
  get isFinished(): boolean {
    return this.finishedChoices.size >= this.choices;
  }

  /**
   * The answer is whole although `[DONE]` did not come: some providers leave it out. A closing usage stands for the
   * choices that a provider does not have (it answered fewer than were asked), never for a finish reason: usage that is
   * told while the answer runs proves nothing of its end.
   */
  get isWhole(): boolean {
    return this.isFinished || (this.isLastFrameUsageOnly && this.finishedChoices.size > 0);
  }

  /**
   * What the first `chunks` frames of the answer say, or undefined when they were too many to keep.
   */
  text(chunks = this.chunks): CollectedText | undefined {
    if (this.dropped) return undefined;
    const collector = new TextCollector();
    let left = chunks;
    const splitter = new SseSplitter((block, start, end) => {
      if (dataStart(block, start, end) < 0 || left-- <= 0) return;
      const parsed = parseFrame(block, start, end);
      if (parsed) collector.addChoices(parsed.choices, 'delta');
    });
    this.closeSpan();
    for (const piece of this.kept) splitter.push(piece);
    return collector.collected();
  }

  private inspect(block: Buffer, start: number, end: number): FrameKind {
    const parsed = parseFrame(block, start, end);
    const error = parsed && errorOf(parsed);
    if (error !== undefined || isErrorEvent(block, start, end)) {
      this.errorEvent = error ?? parsed ?? dataOf(block, start, end);
      return 'error';
    }
    if (!parsed) return 'data';
    const choices = isArray(parsed.choices) ? parsed.choices : [];
    for (const choice of choices) this.noteFinish(choice);
    const usage = parsed.usage;
    if (!isObject(usage)) return 'data';
    const isWithoutChoice = choices.length === 0;
    const counts = usageFromOpenAi(usage);
    if (counts) {
      this.usage = counts;
      this.isUsageFinal = this.isFinished || (isWithoutChoice && this.finishedChoices.size > 0);
    }
    return isWithoutChoice ? 'usage_only' : 'data_with_usage';
  }

  private noteFinish(choice: unknown): void {
    if (!isObject(choice) || typeof choice.finish_reason !== 'string') return;
    this.finishReason = choice.finish_reason;
    this.finishedChoices.add(typeof choice.index === 'number' ? choice.index : 0);
  }

  private keep(block: Buffer, start: number, end: number): void {
    if (this.dropped) return;
    this.keptBytes += end - start;
    if (this.keptBytes > MAX_KEPT_BYTES) {
      this.dropped = true;
      this.kept = [];
      this.openBlock = undefined;
    } else if (block === this.openBlock && start === this.openEnd) {
      this.openEnd = end;
    } else {
      this.closeSpan();
      this.openBlock = block;
      this.openStart = start;
      this.openEnd = end;
    }
  }

  private closeSpan(): void {
    const { openBlock: block, openStart: start, openEnd: end } = this;
    if (block) this.kept.push(start === 0 && end === block.length ? block : block.subarray(start, end));
    this.openBlock = undefined;
  }
}

function parseFrame(block: Buffer, start: number, end: number): JsonObject | undefined {
  try {
    const parsed: unknown = JSON.parse(dataOf(block, start, end));
    return isObject(parsed) ? parsed : undefined;
  } catch {
    return undefined;
  }
}
