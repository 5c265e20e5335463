import { type TokenCounts } from '../../catalogue/price';
import { type JsonObject } from '../../kernel/json-object';
import { renderEvent } from '../dialects/event-frame';
import { parseObject } from '../dialects/json-value';
import { cutResponse } from '../dialects/openai-responses/cut-response';
import { type FrameKind } from '../dialects/stream-reading';
import { type FrameBatch, FrameBatches } from './frame-batch';
import { replaceMember } from './frame-editor';
import { KeptFrames } from './kept-frames';
import { dataOf } from './sse-frame';
import { SseSplitter } from './sse-splitter';
import { type StreamWriter } from './stream-writer';

const MODEL = ['response', 'model'];
/** A response that is cut is told once more as a whole; one that is longer, as it began. */
const MAX_KEPT_BYTES = 1024 * 1024;
const NOTHING = Buffer.alloc(0);

/**
 * A stream of one response to a client of the same dialect: frames as they came but for the model's name in those that show
 * the response as a whole.
 */
export class ResponseWriter implements StreamWriter {
  private readonly batches = new FrameBatches();
  private readonly modelJson: string | undefined;
  /** What was sent, read only if the stream is cut. */
  private readonly kept: KeptFrames | undefined;
  private opening: Buffer | undefined;
  private ending: Buffer | undefined;
  private cut: Buffer | undefined;

  /**
   * @param clientModel the name to show for the model; undefined leaves the provider's
   * @param mayBeCut a guard watches the stream
   */
  constructor(clientModel: string | undefined, mayBeCut: boolean) {
    this.modelJson = clientModel === undefined ? undefined : JSON.stringify(clientModel);
    this.kept = mayBeCut ? new KeptFrames(MAX_KEPT_BYTES) : undefined;
  }

  add(kind: FrameKind, block: Buffer, start: number, end: number): undefined {
    if (kind === 'done') {
      this.ending = this.named(block.subarray(start, end));
      return undefined;
    }
    if (kind === 'data') this.batches.count();
    const isEvent = kind === 'event' || kind === 'opening';
    if (!isEvent || this.modelJson === undefined) {
      if (isEvent) this.opening ??= block.subarray(start, end);
      this.kept?.add(block, start, end);
      this.batches.pass(block, start, end);
      return undefined;
    }
    const frame = this.named(block.subarray(start, end));
    this.opening ??= frame;
    this.kept?.add(frame, 0, frame.length);
    this.batches.put(frame);
    return undefined;
  }

  /** Its provider has said everything. */
  complete(): undefined {
    return undefined;
  }

  take(): FrameBatch | undefined {
    return this.batches.take();
  }

  cutEnd(billed: TokenCounts | undefined): Buffer {
    if (this.cut) return this.cut;
    const { ends, terminal } = cutResponse(this.sent(), billed);
    this.ending = Buffer.from(renderEvent(terminal));
    this.cut = Buffer.from(ends.map(renderEvent).join(''));
    return this.cut;
  }

  /** A response without the last frame of its provider is none, so there always is one. */
  terminal(): Buffer {
    return this.ending ?? NOTHING;
  }

  private named(frame: Buffer): Buffer {
    return this.modelJson === undefined ? frame : replaceMember(frame, MODEL, this.modelJson);
  }

  private sent(): readonly JsonObject[] {
    const pieces = this.kept?.pieces() ?? (this.opening ? [this.opening] : []);
    const frames: JsonObject[] = [];
    const splitter = new SseSplitter((block, start, end) => {
      const frame = parseObject(dataOf(block, start, end));
      if (frame) frames.push(frame);
    });
    for (const piece of pieces) splitter.push(piece);
    return frames;
  }
}
