import { type TokenCounts } from '../../catalogue/price';
import { type MessageStreamReading } from '../dialects/anthropic-messages/message-stream';
import { anthropicUsageOf } from '../dialects/anthropic-messages/usage';
import { renderEvent } from '../dialects/event-frame';
import { parseObject } from '../dialects/json-value';
import { type FrameKind } from '../dialects/stream-reading';
import { type FrameBatch, FrameBatches } from './frame-batch';
import { replaceMember } from './frame-editor';
import { dataOf } from './sse-frame';
import { type StreamWriter } from './stream-writer';

const MODEL = ['message', 'model'];

/** A stream of an Anthropic message to an Anthropic client: frames as they came but for the model's name in the first. */
export class MessageWriter implements StreamWriter {
  private readonly batches = new FrameBatches();
  private readonly modelJson: string | undefined;
  private ending: Buffer | undefined;
  /** The last frame of the answer, read only if the stream is cut; undefined where no block is open. */
  private lastBlock: Buffer | undefined;
  private lastStart = 0;
  private lastEnd = 0;

  /** @param clientModel the name to show for the model; undefined leaves the provider's */
  constructor(
    private readonly reading: MessageStreamReading,
    clientModel: string | undefined,
  ) {
    this.modelJson = clientModel === undefined ? undefined : JSON.stringify(clientModel);
  }

  add(kind: FrameKind, block: Buffer, start: number, end: number): undefined {
    if (kind === 'done') {
      this.ending = block.subarray(start, end);
      return undefined;
    }
    if (kind === 'event' || kind === 'opening') {
      this.addEvent(block, start, end);
      return undefined;
    }
    if (kind === 'data') {
      this.batches.count();
      this.noteOpen(block, start, end);
    }
    this.batches.pass(block, start, end);
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
    let frames = '';
    const { lastBlock } = this;
    if (lastBlock) {
      const last = parseObject(dataOf(lastBlock, this.lastStart, this.lastEnd));
      frames += renderEvent({ type: 'content_block_stop', index: last?.index ?? 0 });
    }
    if (!this.reading.isFinished) {
      const delta = { stop_reason: 'max_tokens', stop_sequence: null };
      frames += renderEvent({ type: 'message_delta', delta, usage: billed ? anthropicUsageOf(billed) : {} });
    }
    return Buffer.from(frames);
  }

  terminal(): Buffer {
    return this.ending ?? Buffer.from(renderEvent({ type: 'message_stop' }));
  }

  private addEvent(block: Buffer, start: number, end: number): void {
    const type = parseObject(dataOf(block, start, end))?.type;
    if (type === 'content_block_start') this.noteOpen(block, start, end);
    else if (type === 'content_block_stop') this.lastBlock = undefined;
    if (type !== 'message_start' || this.modelJson === undefined) {
      this.batches.pass(block, start, end);
      return;
    }
    const frame = block.subarray(start, end);
    this.batches.put(replaceMember(frame, MODEL, this.modelJson));
  }

  private noteOpen(block: Buffer, start: number, end: number): void {
    this.lastBlock = block;
    this.lastStart = start;
    this.lastEnd = end;
  }
}
